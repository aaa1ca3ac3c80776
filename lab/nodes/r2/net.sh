# R2: connected networks only; everything else it learns by BGP. Safe to run again.
set -e
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.all.keep_addr_on_down=1
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.all.send_redirects=0
ip link set lo up
for link in hostb n1 n2; do
    sysctl -qw "net.ipv4.conf.$link.rp_filter=0" "net.ipv4.conf.$link.send_redirects=0"
    ip link set "$link" up
done
ip address replace 10.2.0.1/24 dev hostb
ip address replace fd00:2:0:1::1/64 dev hostb nodad
ip address replace 100.64.21.1/30 dev n1
ip address replace fd00:21::1/64 dev n1 nodad
ip address replace 100.64.22.1/30 dev n2
ip address replace fd00:22::1/64 dev n2 nodad

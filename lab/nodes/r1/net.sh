# R1: connected networks only; everything else it learns by BGP. Safe to run again.
set -e
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.all.keep_addr_on_down=1
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.all.send_redirects=0
ip link set lo up
for link in hosta n1 n2; do
    sysctl -qw "net.ipv4.conf.$link.rp_filter=0" "net.ipv4.conf.$link.send_redirects=0"
    ip link set "$link" up
done
ip address replace 10.1.0.1/24 dev hosta
ip address replace fd00:1:0:1::1/64 dev hosta nodad
ip address replace 100.64.11.1/30 dev n1
ip address replace fd00:11::1/64 dev n1 nodad
ip address replace 100.64.12.1/30 dev n2
ip address replace fd00:12::1/64 dev n2 nodad

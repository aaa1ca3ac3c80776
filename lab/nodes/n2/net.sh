# n2: the networks behind the routers, the far links for the witness paths, the floating addresses. Safe to run again:
# it restores what a link flap took away.
set -e
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.all.keep_addr_on_down=1
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.all.send_redirects=0
ip link set lo up
for link in r1 r2 icl; do
    sysctl -qw "net.ipv4.conf.$link.rp_filter=0" "net.ipv4.conf.$link.send_redirects=0"
    ip link set "$link" up
done
ip address replace 100.64.255.1/32 dev lo
ip address replace fd00:255::1/128 dev lo nodad
ip address replace 100.64.0.2/30 dev icl
ip address replace fd00:100::2/64 dev icl nodad
ip address replace 100.64.12.2/30 dev r1
ip address replace fd00:12::2/64 dev r1 nodad
ip address replace 100.64.22.2/30 dev r2
ip address replace fd00:22::2/64 dev r2 nodad
ip route replace 10.1.0.0/24 via 100.64.12.1
ip route replace 10.2.0.0/24 via 100.64.22.1
ip route replace fd00:1:0:1::/64 via fd00:12::1
ip route replace fd00:2:0:1::/64 via fd00:22::1
ip route replace 100.64.11.0/30 via 100.64.12.1
ip route replace 100.64.21.0/30 via 100.64.22.1
ip route replace fd00:11::/64 via fd00:12::1
ip route replace fd00:21::/64 via fd00:22::1

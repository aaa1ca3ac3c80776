# hosta: a host behind R1. Safe to run again.
set -e
ip link set lo up
ip link set r1 up
ip address replace 10.1.0.10/24 dev r1
ip address replace fd00:1:0:1::10/64 dev r1 nodad
ip route replace default via 10.1.0.1
ip route replace default via fd00:1:0:1::1

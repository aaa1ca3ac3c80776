# hostb: a host behind R2. Safe to run again.
set -e
ip link set lo up
ip link set r2 up
ip address replace 10.2.0.10/24 dev r2
ip address replace fd00:2:0:1::10/64 dev r2 nodad
ip route replace default via 10.2.0.1
ip route replace default via fd00:2:0:1::1

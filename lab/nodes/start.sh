# Starts ExaBGP and the agent in a container; each is started again 200 ms after it ends, as a service manager would.
set -e
l3ha render exabgp > /run/l3ha/exabgp.conf
export exabgp_log_level=WARNING exabgp_reactor_speed=0.1 exabgp_daemon_user=root exabgp_daemon_drop=false exabgp_api_cli=false
keep() {
    name=$1
    shift
    (while :; do "$@"; sleep 0.2; done) > "/var/log/$name.log" 2>&1 < /dev/null &
}
keep exabgp exabgp /run/l3ha/exabgp.conf
keep agent l3ha agent

"""Routing daemons with BFD and a static preference: what an engineer builds from open parts, without an HA agent.

Local preference towards R1 (iBGP), MED towards R2 (eBGP). A node announces the network behind one router to the other
one only while its link to the first is up: FRR by a static route that the ``network`` statement needs, BIRD by a static
route with ``check link``. BFD 3 × 50 ms on both sides.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from lab.bench.contender import BIRD_BFD, FRR_BFD_PROFILE, NO_HEARTBEATS, NO_ICL, PREFERRED, Contender, Part
from lab.command import run
from lab.keeper import Service
from lab.observe import other
from lab.routers import bird, frr
from lab.topology import BEYOND, inside

_NETS = {"n1": ("100.64.11", "100.64.21"), "n2": ("100.64.12", "100.64.22")}
_LEVELS = {"n1": (200, 100), "n2": (100, 200)}
"""Local preference towards R1, MED towards R2."""
_AWAY = (50, 500)

_FRR = """\
frr defaults traditional
log stdout warnings
!
router bgp 65010
 bgp router-id {one}.2
 bgp graceful-restart-disable
 no bgp ebgp-requires-policy
 timers bgp 30 90
 neighbor {one}.1 remote-as 65010
 neighbor {one}.1 timers connect 1
 neighbor {one}.1 bfd
 neighbor {one}.1 bfd profile fast
 neighbor {two}.1 remote-as 65002
 neighbor {two}.1 timers connect 1
 neighbor {two}.1 bfd
 neighbor {two}.1 bfd profile fast
 address-family ipv4 unicast
  network {behind_r1}
  network {behind_r2}
  neighbor {one}.1 next-hop-self
  neighbor {one}.1 route-map R1 out
  neighbor {two}.1 route-map R2 out
 exit-address-family
!
{preference}
"""
_FRR_PREFERENCE = """\
route-map R1 permit 10
 set local-preference {preference}
exit
!
route-map R2 permit 10
 set metric {med}
exit
"""
_BIRD = """\
router id {one}.2;
log stderr all;
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; }}
protocol static {{
    check link;
    ipv4;
    route {behind_r1} via {one}.1;
    route {behind_r2} via {two}.1;
}}
template bgp far {{
    local as 65010;
    direct;
    hold time 90;
    connect retry time 1;
    connect delay time 1;
    error wait time 1, 2;
    graceful restart off;
    bfd on;
}}
protocol bgp r1 from far {{
    neighbor {one}.1 as 65010;
    source address {one}.2;
    ipv4 {{ import none; next hop self; export filter {{
        if source != RTS_STATIC then reject;
        bgp_local_pref = {preference}; accept; }}; }};
}}
protocol bgp r2 from far {{
    neighbor {two}.1 as 65002;
    source address {two}.2;
    ipv4 {{ import none; next hop self; export filter {{
        if source != RTS_STATIC then reject;
        bgp_med = {med}; accept; }}; }};
}}
{bfd}
"""


class _Daemons(Contender):
    """What FRR and BIRD have in common."""

    bfd = True
    absent: ClassVar[dict[str, str]] = {"icl-cut": NO_ICL, "heartbeats-lost": NO_HEARTBEATS}

    def _values(self, node: str, levels: tuple[int, int]) -> dict[str, object]:
        one, two = _NETS[node]
        return {
            "one": one,
            "two": two,
            "behind_r1": BEYOND["r2"][0],
            "behind_r2": BEYOND["r1"][0],
            "preference": levels[0],
            "med": levels[1],
        }

    @abstractmethod
    def _prefer(self, node: str, levels: tuple[int, int]) -> None:
        """Run the daemon of a node with other levels."""

    def move(self, node: str) -> None:
        """Change the static preference of n1, as one does before maintenance."""
        self._prefer(PREFERRED, _AWAY if node == other(PREFERRED) else _LEVELS[PREFERRED])


class Frr(_Daemons):
    """FRR on the nodes."""

    name = "frr-bfd"
    title = "FRR + BFD"
    setup = "bgpd, bfdd, zebra, staticd on the nodes; static local preference and MED by route-map; BFD 3 × 50 ms"
    parts = tuple(Part(name, (f"/{name}",)) for name in ("bgpd", "bfdd", "zebra", "staticd"))

    def node_services(self, node: str) -> list[Service]:
        home = self.directory / node
        home.mkdir()
        values = self._values(node, _LEVELS[node])
        text = _FRR_PREFERENCE.format(**values)
        (home / "frr.conf").write_text(_FRR.format(**{**values, "preference": text}))
        (home / "bfdd.conf").write_text(FRR_BFD_PROFILE)
        routes = "ip route {behind_r1} {one}.1\nip route {behind_r2} {two}.1\n"
        (home / "staticd.conf").write_text(routes.format(**values))
        return frr(self.tag, self.directory, node, "staticd", "bfdd")

    def agent_pids(self, node: str) -> list[int]:
        return [self.pid(f"bgpd-{node}")]

    def _prefer(self, node: str, levels: tuple[int, int]) -> None:
        lines = ["configure terminal", *_FRR_PREFERENCE.format(preference=levels[0], med=levels[1]).splitlines()]
        words = [word for line in lines if line != "!" for word in ("-c", line.strip())]
        run(inside(self.tag, node, "vtysh", "--vty_socket", str(self.directory / node), "-d", "bgpd", *words))


class Bird(_Daemons):
    """BIRD on the nodes."""

    name = "bird-bfd"
    title = "BIRD + BFD"
    setup = "BIRD 2 on the nodes; static local preference and MED by export filter; BFD 3 × 50 ms"
    parts = (Part("bird", ("bird",)),)

    def node_services(self, node: str) -> list[Service]:
        (self.directory / node).mkdir()
        self._write(node, _LEVELS[node])
        return bird(self.tag, self.directory, node)

    def agent_pids(self, node: str) -> list[int]:
        return [self.pid(f"bird-{node}")]

    def _write(self, node: str, levels: tuple[int, int]) -> None:
        text = _BIRD.format(bfd=BIRD_BFD, **self._values(node, levels))
        (self.directory / node / "bird.conf").write_text(text)

    def _prefer(self, node: str, levels: tuple[int, int]) -> None:
        self._write(node, levels)
        run(["birdc", "-s", str(self.directory / node / "bird.ctl"), "configure"])

"""The story: two nodes come up, the active one dies without a sound, the other one takes over, it comes back, and the
service is moved home again. After each step roles, routes and traffic must agree.
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable

from lab.command import LabError
from lab.faults import by_name
from lab.observe import move_to, other, pair, serving, settle, wait_for
from lab.topology import BEYOND, NODES, ROUTERS
from lab.traffic import Outages
from lab.world import Lab

_WIDTH = 100
_PICTURE = """\
hosta --- R1 ---+--- n1 ---+--- R2 --- hostb        R1: iBGP, steered by local preference
                |    |icl  |                        R2: eBGP, steered by MED
                +--- n2 ---+                        traffic: one packet per millisecond each way"""


class Story:
    """Prints what happens, with the time since the start, and remembers what was wrong."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._begin = time.monotonic()
        self._step = 0
        self._lines: list[str] = []
        self.wrong: list[str] = []

    def say(self, text: str = "") -> None:
        """One paragraph."""
        print(text, flush=True)

    def step(self, title: str, text: str, action: Callable[[], str], limit_ms: float | None) -> str:
        """One step: do it, show everything, hold the outage against ``limit_ms`` (None: not measured)."""
        self._step += 1
        since = time.monotonic() - self._begin
        self.say(
            f"\n{'=' * _WIDTH}\n{self._step}. {title}{f'{since:.0f} s':>{_WIDTH - len(title) - 3}}\n{'=' * _WIDTH}"
        )
        self.say(textwrap.fill(text, _WIDTH))
        found: list[str] = []
        outage: Outages | None = None
        if limit_ms is None:
            found.append(action())
        else:
            outage = self._lab.meter().measure(lambda: found.append(action()))
        active = found[-1]
        self._show(active)
        self._judge(title, active, outage, limit_ms)
        return active

    def _show(self, active: str) -> None:
        for node in NODES:
            self.say(f"\n{node}$ l3ha show srg")
            try:
                self.say(textwrap.indent(self._lab.cli(node, "show", "srg").rstrip(), "  "))
            except LabError as error:
                self.say(f"  {error}")
        self.say()
        for router in ROUTERS:
            prefix = BEYOND[router][0]
            for path in self._lab.paths(router, prefix):
                self.say(f"  {router} {prefix}  {path}")
        self.say(f"\n  serving: {active}")

    def _judge(self, title: str, active: str, outage: Outages | None, limit_ms: float | None) -> None:
        try:
            wait_for(self._lab, serving(active), within_s=2, what="agreement of roles and routes")
            self._check(True, title, f"{active} is ACTIVE; R1 and R2 forward to {active}, IPv4 and IPv6")
        except LabError as error:
            self._check(False, title, str(error))
        line = f"{title:48} {active:8}"
        if outage is not None and limit_ms is not None:
            for way, one in (("hosta -> hostb", outage.a_to_b), ("hostb -> hosta", outage.b_to_a)):
                allowed = "no packet lost" if limit_ms == 0 else f"at most {limit_ms:g} ms"
                self._check(one.gap_ms <= limit_ms, title, f"{way}: {one} ({allowed})")
            ways = (outage.a_to_b, outage.b_to_a)
            line += "".join(f" {way.gap_ms:8.0f} {way.lost:6}  " for way in ways)
        self._lines.append(line)

    def _check(self, good: bool, title: str, text: str) -> None:
        self.say(f"  {'ok ' if good else 'BAD'} {text}")
        if not good:
            self.wrong.append(f"{title}: {text}")

    def end(self) -> None:
        """The summary."""
        self.say(f"\n{'=' * _WIDTH}\n{'':57} {'hosta -> hostb':>15}   {'hostb -> hosta':>15}")
        self.say(f"{'step':48} {'serving':8} {'gap ms':>8} {'lost':>6}   {'gap ms':>8} {'lost':>6}")
        for line in self._lines:
            self.say(line)
        spent = time.monotonic() - self._begin
        self.say(
            f"\n{spent:.0f} s; " + ("roles, routes and traffic agreed after every step" if not self.wrong else "WRONG:")
        )
        for text in self.wrong:
            self.say(f"  {text}")


def tell(lab: Lab) -> int:
    """Run the story in a new lab; 0 if all was as it must be."""
    print(_PICTURE)
    try:
        with lab:
            story = Story(lab)
            _acts(lab, story)
            story.end()
            return 1 if story.wrong else 0
    except LabError as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1


def _acts(lab: Lab, story: Story) -> None:
    death = by_name("silent-death")
    first = story.step(
        "Bring-up",
        "Both nodes start, meet on the ICL, elect one by grant, and tell both routers: HIGH here, MEDIUM there.",
        lambda: settle(lab, within_s=40),
        None,
    )
    second = other(first)

    def die() -> str:
        death.apply(lab, first)
        wait_for(lab, *death.expect(first), within_s=10, steady_s=0.5, what="the takeover")
        return second

    def revive() -> str:
        assert death.heal is not None
        death.heal(lab, first)
        wait_for(lab, pair(second), within_s=40, steady_s=1, what="the return of a backup")
        return second

    def home() -> str:
        move_to(lab, first)
        return first

    story.step(
        f"Silent death of {first}",
        f"{first} drops every packet, in and out. Links stay up, the BGP hold time is 90 s, the routers know no BFD. "
        f"{second} hears nothing on any path while a router answers it: it takes over with the next term.",
        die,
        death.limit_ms,
    )
    story.step(
        f"Return of {first}",
        f"{first} is heard again and still believes to be active. {second} is confirmed: {first} gives way.",
        revive,
        0,
    )
    story.step(
        f"Planned move back to {first}",
        f"An operator asks {second}: l3ha request failover srg 1 --wait. Make before break, verified by the probe.",
        home,
        0,
    )

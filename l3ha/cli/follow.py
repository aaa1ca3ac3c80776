"""``request failover --wait``: watch a planned move from here until the peer is ACTIVE and verified, or it is over.

The times are measured here, from the agent's acceptance; a poll takes a few milliseconds, so they are that exact.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import click

from l3ha.base.time import MS, SECOND, Duration
from l3ha.cli.text import age, clean, colour
from l3ha.cli.where import BadNews, Where, asked, rendered
from l3ha.control.protocol import Show

PATIENCE: Duration = 15 * SECOND
"""More than T_grant + T_verify + T_grant at any sensible timers: then something else is wrong."""

_BEGIN: Duration = 2 * SECOND
"""An accepted move that has not begun by then never will."""

_POLL_S = 0.01

_ELAPSED = re.compile(r", \d+ ms$")
"""What the agent says of the time that a step has taken; every line here begins with the time."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the move stands, as this node knows it."""

    text: str
    moving: bool
    active_here: bool
    active_there: str | None
    verified: bool
    reason: str


def situation(status: dict[str, Any]) -> Situation:
    """Read it from the answer to ``show srg N``."""
    srg = status["srgs"][0]
    heard = {peer["id"] for peer in status["peers"] if peer["contact"]}
    active = next((peer for peer in srg["peers"] if peer["state"] == "ACTIVE" and peer["id"] in heard), None)
    verified = bool(active and active["verified"])
    there = "no peer is ACTIVE"
    if active:
        proof = "verified" if verified else "not verified yet"
        there = f"{active['name']} ACTIVE (term {active['term']}, {proof})"
    here = f"{status['node']['name']} {srg['state']}, advertises {srg['level']}"
    step = f"; {_ELAPSED.sub('', srg['move'])}" if srg["move"] else ""
    return Situation(
        text=clean(f"{here}; {there}{step}"),
        moving=bool(srg["move"]),
        active_here=srg["state"] == "ACTIVE",
        active_there=clean(active["name"]) if active else None,
        verified=verified,
        reason=clean(srg["reason"]),
    )


def follow(where: Where, number: int, as_json: bool) -> None:
    """Print each step, then the end. Exit code 1 unless the peer is ACTIVE and verified."""
    start = time.monotonic_ns()
    shown: str | None = None
    begun = False
    while (took := time.monotonic_ns() - start) < PATIENCE:
        now: Situation = rendered(asked(where, Show("srg", number)), situation)
        begun = begun or now.moving or not now.active_here
        if now.text != shown:
            _say(as_json, took, now.text)
            shown = now.text
        if now.active_there is not None and not now.active_here and not now.moving:
            _arrived(now, took, as_json)
            return
        if now.active_here and not now.moving and (begun or took > _BEGIN):
            what = "rolled back" if begun else "not begun"
            raise BadNews(f"{what} after {took // MS} ms: this node is ACTIVE ({now.reason}); see: l3ha show events")
        time.sleep(_POLL_S)
    raise BadNews(f"the move has not ended within {age(PATIENCE)}, last seen: {shown}; see: l3ha show events")


def _arrived(now: Situation, took: Duration, as_json: bool) -> None:
    if not now.verified:
        raise BadNews(f"{now.active_there} is ACTIVE but not verified after {took // MS} ms; see: l3ha show bgp there")
    _say(as_json, took, f"✓ {now.active_there} is ACTIVE and verified, {took // MS} ms after the request")


def _say(as_json: bool, took: Duration, text: str) -> None:
    click.echo(json.dumps({"after": took, "step": text}) if as_json else colour(f"  {age(took):>6}  {text}"))

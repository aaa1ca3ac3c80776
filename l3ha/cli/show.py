"""``l3ha show …``: ask, render, and say by the exit code whether the answer is good."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import click

from l3ha.base.limits import MAX_EVENTS, MAX_SRGS
from l3ha.cli import srg as group_view
from l3ha.cli import views
from l3ha.cli.text import colour
from l3ha.cli.where import Where, asked, pass_where, rendered, takes
from l3ha.control.protocol import DEFAULT_EVENTS, Call, Events, Show

WATCH_INTERVAL_S = 1.0

Render: TypeAlias = Callable[[dict[str, Any]], list[str]]

_SRG = click.IntRange(0, MAX_SRGS)


@click.group()
@takes("run_dir")
def show() -> None:
    """Ask the agent of this node what it knows."""


def _output(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every ``show``."""
    watching = click.option("--watch", is_flag=True, help="Repeat every second until interrupted.")
    as_json = click.option("--json", "as_json", is_flag=True, help='Print the answer as JSON ("schema": 1).')
    return as_json(watching(takes("run_dir")(pass_where(command))))


@show.command("srg")
@click.argument("number", metavar="[N]", required=False, type=_SRG)
@_output
def show_srg(where: Where, number: int | None, as_json: bool, watch: bool) -> None:
    """Services redundancy groups: role, the rule that brought it, peer, preference, probe, monitors.

    Without N all groups; 0 is the node's own group. Exit code 1: a group has no ACTIVE node that is known.
    """

    def render(answer: dict[str, Any]) -> list[str]:
        return group_view.render(answer, number)

    _show(where, Show("srg", number), render, as_json, watch, good=lambda answer: group_view.served(answer, number))


@show.command("node")
@_output
def show_node(where: Where, as_json: bool, watch: bool) -> None:
    """This node: state, peers, SRG 0, software, speaker."""
    _show(where, Show("node"), views.node, as_json, watch)


@show.command("peer")
@_output
def show_peer(where: Where, as_json: bool, watch: bool) -> None:
    """The other nodes: contact, paths of the inter-chassis link, packets, drops by reason."""
    _show(where, Show("peer"), views.peer, as_json, watch)


@show.command("probe")
@_output
def show_probe(where: Where, as_json: bool, watch: bool) -> None:
    """The activeness probe of each group, arbiter by arbiter."""
    _show(where, Show("probe"), views.probe, as_json, watch)


@show.command("monitor")
@_output
def show_monitor(where: Where, as_json: bool, watch: bool) -> None:
    """Monitored interfaces, addresses and BGP sessions with their weights."""
    _show(where, Show("monitor"), views.monitor, as_json, watch)


@show.command("routes")
@click.option("--srg", "number", type=_SRG, help="One group only.")
@_output
def show_routes(where: Where, number: int | None, as_json: bool, watch: bool) -> None:
    """What every neighbor shall hold: level, term, attributes, and whether it is confirmed."""
    _show(where, Show("routes", number), views.routes, as_json, watch)


@show.command("bgp")
@_output
def show_bgp(where: Where, as_json: bool, watch: bool) -> None:
    """The speaker with its lease, and the BGP neighbors."""
    _show(where, Show("bgp"), views.bgp, as_json, watch)


@show.command("bfd")
@_output
def show_bfd(where: Where, as_json: bool, watch: bool) -> None:
    """The BFD sessions: state, timers of both ends, packets, drops by reason, flaps.

    Exit code 1: a session is not up, and nobody took it down on purpose.
    """
    _show(where, Show("bfd"), views.bfd, as_json, watch, good=views.bfd_up)


@show.command("events")
@click.option(
    "--limit", type=click.IntRange(1, MAX_EVENTS), default=DEFAULT_EVENTS, show_default=True, help="How many."
)
@click.option("--srg", "number", type=_SRG, help="One group only.")
@_output
def show_events(where: Where, limit: int, number: int | None, as_json: bool, watch: bool) -> None:
    """What happened and why, newest last; ``!`` marks an alarm."""
    _show(where, Events(limit, number), views.events, as_json, watch)


def _good(_answer: dict[str, Any]) -> bool:
    return True


def _show(
    where: Where,
    call: Call,
    render: Render,
    as_json: bool,
    watch: bool,
    *,
    good: Callable[[dict[str, Any]], bool] = _good,
) -> None:
    if watch:
        _watch(where, call, render, as_json)
        return
    answer = asked(where, call)
    lines = rendered(answer, render)
    bad = not rendered(answer, good)
    click.echo(json.dumps(answer, indent=2) if as_json else colour("\n".join(lines)))
    if bad:
        raise SystemExit(1)


def _watch(where: Where, call: Call, render: Render, as_json: bool) -> None:
    """Repeat until interrupted. An agent that goes away meanwhile is news, not the end."""
    try:
        while True:
            try:
                answer = asked(where, call)
                text = json.dumps(answer) if as_json else colour("\n".join(rendered(answer, render)))
            except click.ClickException as error:
                text = (
                    json.dumps({"error": error.message}) if as_json else f"{time.strftime('%H:%M:%S')} {error.message}"
                )
            if sys.stdout.isatty() and not as_json:
                click.clear()
            click.echo(text if as_json else text + "\n")
            time.sleep(WATCH_INTERVAL_S)
    except KeyboardInterrupt:
        return

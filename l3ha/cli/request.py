"""``l3ha request …`` and ``l3ha clear …``: what changes something. A request answers with its preconditions."""

from __future__ import annotations

import json

import click

from l3ha.base.limits import MAX_NAME, MAX_NODE_ID, MAX_SRGS
from l3ha.base.time import Duration, parse_duration
from l3ha.cli import views
from l3ha.cli.text import colour
from l3ha.cli.where import Where, asked, pass_where, rendered, takes
from l3ha.control.protocol import MAX_GRACE, Call, Clear, Failover, Maintenance, Restart


@click.group()
@takes("run_dir")
def request() -> None:
    """Ask the agent of this node to do something."""


@request.command()
@click.argument("kind", type=click.Choice(["srg"]), metavar="srg", expose_value=False)
@click.argument("number", metavar="N", type=click.IntRange(1, MAX_SRGS))
@click.option("--to", metavar="NODE", help="Name or id of the node that shall become ACTIVE; else the only peer.")
@click.option("--wait", is_flag=True, help="Wait until the peer is ACTIVE and verified, or the move was rolled back.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@takes("run_dir")
@pass_where
def failover(where: Where, number: int, to: str | None, wait: bool, as_json: bool) -> None:
    """Move group N to another node without loss: make before break, verified.

    Must run on the node that is ACTIVE. Prints every precondition; exit code 1 where one of them forbids the move.
    """
    _request(where, Failover(number, _node(to)), as_json)
    if wait:
        from l3ha.cli.follow import follow  # noqa: PLC0415 - start-up time

        follow(where, number, as_json)


def _node(text: str | None) -> str | int | None:
    """A name, or an id where it is a number; the agent knows which of them exist."""
    if text is None or not text.isdecimal():
        if text is not None and not 0 < len(text) <= MAX_NAME:
            raise click.BadParameter(f"the name of a node has 1..{MAX_NAME} characters", param_hint="--to")
        return text
    if not 1 <= int(text) <= MAX_NODE_ID:
        raise click.BadParameter(f"the id of a node is a number of 1..{MAX_NODE_ID}", param_hint="--to")
    return int(text)


@request.command()
@click.argument("state", type=click.Choice(["on", "off"]))
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@takes("run_dir")
@pass_where
def maintenance(where: Where, state: str, as_json: bool) -> None:
    """Take this node OFFLINE (its groups move away first), or bring it back."""
    _request(where, Maintenance(state == "on"), as_json)


def _grace(_context: click.Context, _parameter: click.Parameter, text: str) -> Duration:
    try:
        grace = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 0 < grace <= MAX_GRACE:
        raise click.BadParameter("a peer waits for a restart at most 5s; choose more than 0 and at most that")
    return grace


@request.command()
@click.option(
    "--grace", default="5s", show_default=True, callback=_grace, help="How long the peer waits for our return."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@takes("run_dir")
@pass_where
def restart(where: Where, grace: Duration, as_json: bool) -> None:
    """End the agent so that a new one may take its place; the roles stay if it is back within the grace."""
    _request(where, Restart(grace), as_json)


@click.group()
def clear() -> None:
    """Reset what was counted."""


@clear.command()
@takes("run_dir")
@pass_where
def statistics(where: Where) -> None:
    """Set all counters to zero."""
    asked(where, Clear())
    click.echo("Counters are zero")


def _request(where: Where, call: Call, as_json: bool) -> None:
    answer = asked(where, call)
    lines = rendered(answer, views.answer)
    click.echo(json.dumps(answer) if as_json else colour("\n".join(lines)))
    if not answer["accepted"]:
        raise SystemExit(1)

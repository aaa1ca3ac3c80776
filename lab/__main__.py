"""``python -m lab VERB``."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from lab import campaign as campaigns
from lab import demo as demos
from lab.bench.command import bench
from lab.command import LabError
from lab.faults import FAULTS, by_name
from lab.observe import picture, settle
from lab.routers import RouterKind
from lab.topology import BEYOND, MACHINES, NODES, ROUTERS, inside
from lab.world import BASE, DEFAULT_TAG, Lab, write_cluster_file

_KINDS = click.Choice([kind.value for kind in RouterKind])
_tag = click.option("--tag", envvar="L3HA_LAB", default=DEFAULT_TAG, show_default=True, help="Name of the lab.")
_own_tag = click.option("--tag", envvar="L3HA_LAB", default=f"p{os.getpid()}", help="Name of the lab; default: unique.")
_router = click.option("--router", type=_KINDS, default="frr", show_default=True, help="Software of R1 and R2.")
_logs = click.option("--logs", type=click.Path(path_type=Path), help="Copy all logs into this directory at the end.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Two hosts, two real routers, two l3ha nodes in network namespaces."""
    signal.signal(signal.SIGTERM, _terminate)  # so that a killed demo cleans up as an interrupted one does


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


@cli.command()
@_tag
@_router
@click.option("--traffic/--no-traffic", default=False, help="One packet per ms each way; its record grows 3 GB a day.")
def up(tag: str, router: str, traffic: bool) -> None:
    """Start a lab and leave it running."""
    lab = Lab(tag, RouterKind(router), traffic=traffic, owner=0)
    lab.up()
    try:
        active = settle(lab, within_s=40)
    except LabError as error:
        raise LabError(f"{error}\nThe lab is left running; its logs are in {lab.directory / 'log'}") from None
    except KeyboardInterrupt:
        lab.down()
        raise
    click.echo(f"lab {tag} is up, {active} is ACTIVE. A shell in a node: python -m lab shell {active}")
    click.echo("Look at it: python -m lab status    Remove it: python -m lab down")


@cli.command()
@_tag
@click.argument("machine", type=click.Choice(MACHINES))
@click.argument("command", nargs=-1)
def shell(tag: str, machine: str, command: tuple[str, ...]) -> None:
    """Open a shell in a machine of the lab, or run a command there (after --)."""
    lab = Lab.load(tag)
    extra = {"PS1": f"{machine}$ "}
    if machine in NODES:
        extra |= lab.node_environment(machine)
        click.echo("Try: l3ha show srg", err=True)
    elif machine in ROUTERS and lab.kind is RouterKind.FRR:
        extra["VTYSH_OPTS"] = f"--vty_socket {lab.directory / machine}"
        click.echo("Try: vtysh $VTYSH_OPTS -c 'show bgp summary'", err=True)
    elif machine in ROUTERS:
        click.echo(f"Try: birdc -s {lab.directory / machine / 'bird.ctl'} show route", err=True)
    argv = inside(tag, machine, *(command or ("bash", "--norc")))
    os.execvpe(argv[0], argv, {**os.environ, **extra})


@cli.command()
@_tag
def status(tag: str) -> None:
    """Print what both nodes and both routers hold."""
    lab = Lab.load(tag)
    click.echo(json.dumps(picture(lab), indent=2))
    for router in ROUTERS:
        for prefix in BEYOND[router]:
            for path in lab.paths(router, prefix):
                click.echo(f"{router} {prefix} {path}")


@cli.command()
@_tag
@click.option("--all", "every", is_flag=True, help="Every lab of this machine.")
def down(tag: str, every: bool) -> None:
    """Remove a lab: processes, namespaces, files."""
    tags = sorted(path.name for path in BASE.glob("*")) if every else [tag]
    for one in tags:
        Lab(one).down()


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
def files(directory: Path) -> None:
    """Write the cluster file and fresh keys for containerlab into a new directory."""
    directory.mkdir(parents=True, exist_ok=True)
    write_cluster_file(directory)
    click.echo(f"{directory / 'l3ha.toml'} and one key per node")


@cli.command()
@_own_tag
@_router
@_logs
def demo(tag: str, router: str, logs: Path | None) -> None:
    """Tell the story in under two minutes; exit code 1 if roles, routes and traffic disagree anywhere."""
    sys.exit(demos.tell(Lab(tag, RouterKind(router), logs=logs)))


@cli.command()
@_own_tag
@_router
@_logs
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="How often each.")
@click.option("--only", multiple=True, type=click.Choice([fault.name for fault in FAULTS]), help="Only this fault.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table into this file, between its marks.")
def faults(tag: str, router: str, logs: Path | None, runs: int, only: tuple[str, ...], markdown: Path | None) -> None:
    """Every fault, measured; exit code 1 if any run is worse than the fault allows."""
    chosen = [by_name(name) for name in only] or list(FAULTS)
    with Lab(tag, RouterKind(router), logs=logs) as lab:
        settle(lab, within_s=40)
        done, wrong = campaigns.campaign(lab, chosen, runs, click.echo)
    text = campaigns.table(done)
    click.echo(f"\n{text}")
    if markdown is not None and done:
        campaigns.write_table(markdown, text)
    for line in wrong:
        click.echo(f"WRONG: {line}", err=True)
    sys.exit(1 if wrong else 0)


cli.add_command(bench)


def main() -> None:
    """Run a verb; what is wrong with the lab is a line, not a traceback."""
    try:
        cli(prog_name="python -m lab")
    except LabError as error:
        sys.exit(f"lab: {error}")


if __name__ == "__main__":
    main()

"""Commands that need no running agent: ``check``, ``render``, ``keygen``; and the two processes themselves.

Everything heavy is imported inside the functions, so that ``show`` never pays for it.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

import click

from l3ha.cli.text import clean, colour
from l3ha.cli.where import BadNews, Where, pass_where, takes


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print errors and warnings as JSON.")
@takes("config", "node")
@pass_where
def check(where: Where, file: Path | None, as_json: bool) -> None:
    """Read a configuration and print everything that is wrong with it, each with file, line and key.

    Without FILE the one of --config. With --node also what only that node can see, such as its key file.
    Exit code 1: there are errors.
    """
    from l3ha.config import load

    path = file or where.config
    errors, warnings = load.check(path, where.node)
    if as_json:
        click.echo(json.dumps({"errors": [str(e) for e in errors], "warnings": [str(w) for w in warnings]}, indent=2))
    else:
        for kind, faults in (("error", errors), ("warning", warnings)):
            for fault in faults:
                click.echo(colour(f"{kind}: {clean(fault)}"))
        click.echo(f"{clean(path)}: {_count(len(errors), 'error')}, {_count(len(warnings), 'warning')}")
    if errors:
        raise SystemExit(1)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


@click.group()
@takes("config", "node")
def render() -> None:
    """Write other programs' files from the configuration, so that nothing is written twice."""


@render.command("exabgp")
@click.option("--env", "part", flag_value="environment", help="ExaBGP's environment file instead.")
@click.option("--unit", "part", flag_value="unit", help="The systemd unit instead.")
@takes("config", "node", "run_dir")
@pass_where
def render_exabgp(where: Where, part: str | None) -> None:
    """The ExaBGP configuration of one node: neighbors, and the speaker as its process."""
    from l3ha.base.errors import ConfigError
    from l3ha.config import load, render

    match part:
        case "environment":
            click.echo(render.exabgp_environment(), nl=False)
        case "unit":
            click.echo(render.exabgp_unit(), nl=False)
        case _:
            try:
                settings = load.load(where.config, where.node, secrets=False)
                if any(n.password is not None for n in settings.neighbors):
                    settings = load.load(where.config, where.node)  # the passwords are needed now
                click.echo(render.exabgp(settings, python=sys.executable, run_dir=str(where.run_dir)), nl=False)
            except ConfigError as error:
                raise BadNews("\n".join(clean(fault) for fault in error.faults)) from None


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write the private key here (mode 0600); must not exist.")
@click.option("--psk", is_flag=True, help="Make a pre-shared key for [icl] psk_file instead of a node's key.")
@click.option("--json", "as_json", is_flag=True, help="Print what would be printed as JSON.")
def keygen(out: Path | None, psk: bool, as_json: bool) -> None:
    """Make a key in WireGuard's form (base64 of 32 bytes).

    Without --out the private key goes to stdout and the public one to stderr, so that `l3ha keygen > n1.key` works.
    """
    raw = os.urandom(32)
    public: str | None = None
    if not psk:
        from l3ha.wire.noise import public_key

        raw = bytes([raw[0] & 248, *raw[1:31], raw[31] & 127 | 64])  # RFC 7748 section 5, as wg genkey does it
        public = base64.b64encode(public_key(raw)).decode()
    secret = base64.b64encode(raw).decode()
    if out is not None:
        _write_secret(out, secret)
    if as_json:
        kept = {"file": str(out)} if out else {"psk" if psk else "private_key": secret}
        click.echo(json.dumps(kept | ({"public_key": public} if public else {})))
        return
    if out is None:
        click.echo(secret)
    if public is not None:
        click.echo(f"public_key = {public}" if out is None else public, err=out is None)


def _write_secret(path: Path, secret: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
    except FileExistsError:
        raise BadNews(f"{path}: exists already; a key is never overwritten, move it away first") from None
    except OSError as error:
        raise BadNews(f"{path}: {error.strerror}") from None


@click.command()
@click.option("--log-format", type=click.Choice(["console", "json"]), help="Default: console on a terminal, else json.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path),
    envvar="L3HA_JOURNAL",
    show_envvar=True,
    help="Keep everything that enters the engine in this directory, for `l3ha sim --replay`. Holds the node's keys.",
)
@click.option(
    "--journal-limit",
    "mib",
    type=click.IntRange(16),
    default=128,
    show_default=True,
    metavar="MIB",
    help="MiB of the journal; the oldest eighth goes when it is reached.",
)
@takes("config", "node", "run_dir", "state_dir")
@pass_where
def agent(where: Where, log_format: str | None, journal: Path | None, mib: int) -> None:
    """Run the agent of this node in the foreground."""
    from functools import partial

    from l3ha.agent import main
    from l3ha.drivers.journal import MIB, JournalFiles

    files = None if journal is None else partial(JournalFiles, journal, mib * MIB)
    chosen = log_format or ("console" if sys.stderr.isatty() else "json")
    sys.exit(main.run(where.config, where.node, where.run_dir, where.state_dir, chosen, files))


@click.command()
@takes("run_dir")
@pass_where
def speaker(where: Where) -> None:
    """The process that ExaBGP runs; not for people."""
    from l3ha.speaker import main

    sys.exit(main.run(str(where.run_dir)))

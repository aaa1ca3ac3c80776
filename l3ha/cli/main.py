"""``l3ha``: the root of the command tree. Starts in under 150 ms, so nothing heavy is imported here."""

from __future__ import annotations

import codecs
import importlib
import os
import sys

import click

import l3ha
from l3ha.cli.where import Where, takes

_COMMANDS = {
    "show": ("l3ha.cli.show", "Ask the agent of this node what it knows."),
    "request": ("l3ha.cli.request", "Ask the agent of this node to do something."),
    "clear": ("l3ha.cli.request", "Reset what was counted."),
    "check": ("l3ha.cli.tools", "Read a configuration and print everything that is wrong with it."),
    "render": ("l3ha.cli.tools", "Write other programs' files from the configuration."),
    "keygen": ("l3ha.cli.tools", "Make a key in WireGuard's form."),
    "sim": ("l3ha.cli.sim", "Play the engine against a virtual network, and hunt for what breaks it."),
    "agent": ("l3ha.cli.tools", "Run the agent of this node in the foreground."),
    "speaker": ("l3ha.cli.tools", "The process that ExaBGP runs; not for people."),
}
"""Command: its module, loaded when it is used, and the line in the list of commands."""


class _Lazy(click.Group):
    """A group whose commands are imported one at a time: ``show`` does not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, text = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)
        command.short_help = text
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(l3ha.__version__, prog_name="l3ha")
@takes("config", "node", "run_dir", "state_dir", root=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Multinode high availability for Linux L3 nodes.

    Exit codes: 0 fine; 1 the answer is bad news (no ACTIVE node is known, a request was refused, a file has errors);
    2 wrong usage; 3 the agent is not reachable.
    """
    context.ensure_object(Where)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """For a terminal that knows no check mark: another sign, never a traceback and never the same for good and bad."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join({"✓": "+", "✗": "x", "…": "..."}.get(c, "?") for c in bad), error.end


def main() -> None:
    """Entry point of ``l3ha`` and ``python -m l3ha``."""
    codecs.register_error("l3ha", _spell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="l3ha")
    try:
        cli(prog_name="l3ha")
    except OSError as error:  # a full disk behind ``> file``; whatever asks the agent has errors of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the rest in the buffer fails again at the very end
        sys.exit(f"Error: cannot write the output: {error.strerror or error}")

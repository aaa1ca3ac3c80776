"""``docs/cli.md`` from the command tree: ``python -m l3ha.cli.reference > docs/cli.md``. A test compares the two."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from l3ha.cli.main import cli

_HEAD = """\
# Command line

<!-- Generated from the command tree by `python -m l3ha.cli.reference > docs/cli.md`; do not edit. -->

Every `show` has `--json`: the answer as the agent gave it, an object with `"schema": 1`. Fields are added, never
renamed; durations and ages are nanoseconds, `null` means "never" or "unknown". `--watch` repeats every second, with
`--json` as one object per line.

| exit code | meaning |
|---|---|
| 0 | fine |
| 1 | the answer is bad news: a group has no ACTIVE node that is known, a request was refused, a file has errors |
| 2 | wrong usage |
| 3 | the agent is not reachable: not running, no permission, silent for 2 s, or not of this protocol |

The options of `l3ha` itself may also follow the name of every command that uses them; the later writing wins. Colour is
used on terminals only, and not where `NO_COLOR` is set.

Field names of `show srg` and `show node` are those of Junos's `show chassis high-availability`. What Junos does not
have stands beside them: the rule that brought the present state, when it acted and why, the term, what the routers
confirmed. `Configured Detection Time` is Junos's `Configured BFD Detection Time`: the inter-chassis link has its own
heartbeats here.
"""


def reference() -> str:
    """The whole document."""
    blocks = [_HEAD, *(block for path, command in _walk("l3ha", cli) for block in _describe(path, command))]
    return "\n".join(blocks)


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, f"{path} lists {name} and has it not"
            yield from _walk(f"{path} {name}", child)


def _describe(path: str, command: click.Command) -> Iterator[str]:
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option)]
    words = [path, *(["COMMAND"] if isinstance(command, click.Group) else []), *map(_argument, arguments)]
    yield f"## {path}\n"
    yield f"`{' '.join(words)}{' [OPTIONS]' if options else ''}`\n"
    yield _paragraphs(inspect.cleandoc(command.help or "")) + "\n"
    if options:
        yield "| option | meaning |\n|---|---|"
        yield "\n".join(f"| {_flags(option)} | {_meaning(option)} |" for option in options) + "\n"


def _paragraphs(text: str) -> str:
    return text.replace("\f", "").replace("\b\n", "").strip()


def _argument(argument: click.Argument) -> str:
    name = argument.metavar or _kind(argument)
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _kind(parameter: click.Parameter) -> str:
    match parameter.type:
        case click.Choice(choices=choices):
            return "|".join(map(str, choices))
        case click.IntRange():
            return "NUMBER"
        case click.Path():
            return (parameter.name or "path").upper() if isinstance(parameter, click.Argument) else "PATH"
        case _:
            return "TEXT"


def _flags(option: click.Option) -> str:
    value = "" if option.is_flag else " " + (option.metavar or _kind(option)).replace("|", "\\|")
    return ", ".join(f"`{flag}{value}`" for flag in option.opts)


def _meaning(option: click.Option) -> str:
    text = (option.help or "").replace("|", "\\|")
    if option.show_default and option.default is not None:
        text += f" Default: `{option.default}`."
    return text + (f" Environment: `{option.envvar}`." if option.envvar else "")


if __name__ == "__main__":
    click.echo(reference(), nl=False)

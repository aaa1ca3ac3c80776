"""Where the configuration, the agent and its state are: options that every command takes, before or after its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from l3ha.base.text import printable
from l3ha.control.client import ControlError, Refused, ask
from l3ha.control.protocol import Call, ProtocolError

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Where:
    """The global options. The later writing on the command line wins."""

    config: Path = Path("/etc/l3ha/l3ha.toml")
    node: str | None = None
    run_dir: Path = Path("/run/l3ha")
    state_dir: Path = Path("/var/lib/l3ha")


pass_where = click.make_pass_decorator(Where, ensure=True)

_PATH = click.Path(path_type=Path)
_OPTIONS: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
    "config": (("--config", "-c"), _PATH, "L3HA_CONFIG", "Configuration file of the cluster."),
    "node": (("--node",), str, "L3HA_NODE", "Name of this node; else the host name."),
    "run_dir": (("--run-dir",), _PATH, "L3HA_RUN_DIR", "Directory of the local sockets."),
    "state_dir": (("--state-dir",), _PATH, "L3HA_STATE_DIR", "Directory of what survives a restart."),
}


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None and parameter.name is not None:
        setattr(context.ensure_object(Where), parameter.name, value)


def takes(*names: str, root: bool = False) -> Callable[[_Command], _Command]:
    """Give a command some of the global options. Only at the root do they read the environment and show defaults."""

    def decorate(command: _Command) -> _Command:
        for name in reversed(names):
            flags, kind, variable, text = _OPTIONS[name]
            default = getattr(Where(), name)
            shown = f"{text}  [default: {default}]" if root and default is not None else text
            command = click.option(
                *flags,
                name,
                type=kind,
                envvar=variable if root else None,
                show_envvar=root,
                expose_value=False,
                callback=_remember,
                help=shown,
            )(command)
        return command

    return decorate


class Unreachable(click.ClickException):
    """Exit code 3: the agent did not answer."""

    exit_code = 3


class BadNews(click.ClickException):
    """Exit code 1: the agent answered, and the answer is no."""

    exit_code = 1


def asked(where: Where, call: Call) -> dict[str, Any]:
    """The agent's result, or the exit that its absence means."""
    try:
        return ask(where.run_dir, call)
    except Refused as error:
        raise BadNews(printable(str(error))) from None
    except (ControlError, ProtocolError) as error:
        raise Unreachable(printable(str(error))) from None


def rendered(answer: dict[str, Any], view: Callable[[dict[str, Any]], Any]) -> Any:
    """Apply a view; an answer of the right protocol but the wrong shape is the agent's fault, not a traceback."""
    try:
        return view(answer)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        what = f"{type(error).__name__}: {error}"
        text = f"the agent's answer has an unknown form ({what}); compare the versions of l3ha and of the running agent"
        raise Unreachable(text) from None

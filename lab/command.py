"""Running other programs: their answer, or an error that shows what they said."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


class LabError(Exception):
    """Something in the lab is not as it must be; ``str()`` says what, for the person at the terminal."""


def run(
    argv: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None, timeout_s: float = 30
) -> str:
    """Run a program to its end and return what it printed. Raises ``LabError`` with its words where it fails."""
    try:
        done = subprocess.run(
            argv, input=stdin, env=env, timeout=timeout_s, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]}: not installed (the lab needs iproute2, nftables and FRR or BIRD)") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: no end after {timeout_s:g} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no word")[-2000:]
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {said}")
    return done.stdout

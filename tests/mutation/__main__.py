"""``make mutants``: change the code a little, and see whether a test notices.

    python -m tests.mutation [--only l3ha/core/srg.py] [--sample N] [--seed S] [--jobs J]

Every mutant is compiled in a forked child, which then imports the program as a test run does and runs the fast unit
tests that touch the changed line, quickest first, until one fails. Survivors are listed, apart from those whose reason
stands in ``survivors.md``. Exit code 1: there is a survivor without a reason.

Why no ready-made tool: mutmut 3 runs here, but leaves out what has a decorator (properties) and what stands in classes
and modules (the tables of the machines), and changes every text of every message; cosmic-ray starts the tests anew for
each mutant and does not know which of them touch the line.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutation.covered import ROOT, WATCHED, quick_hypothesis
from tests.mutation.mutants import Mutant, mutants, sample

REASONS = Path(__file__).with_name("survivors.md")
BUILD = ROOT / "build" / "mutants"

SLOW = frozenset(
    {
        "test_sim", "test_explore", "test_contracts", "test_agent_shell", "test_attack_shell", "test_drivers",
        "test_netlink", "test_unix_sockets", "test_agent_process",
        "test_cli", "test_clab", "test_render", "test_config_fuzz", "test_failure_modes", "test_mutation",
    }
)  # fmt: skip
"""Test files that a mutant is not shown to: they run for long, start processes, or say nothing about core and wire."""

PATIENCE_S = 10.0
"""On top of twice the time that the tests need without the mutant; more is an endless loop, noticed by the timeout."""

ENOUGH_S = 12.0
"""What a mutant may cost, in seconds that its tests need under coverage: quickest first, the slowest are left out."""

UNNOTICED, NOTICED = 0, 1
"""Exit codes of a child."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What ``covered`` has found."""

    durations: dict[str, float]
    lines: dict[str, dict[str, list[str]]]

    def tests(self, m: Mutant) -> list[str]:
        """The tests that touch a mutant's lines, or all of the module where it acts at import; quickest first.

        A module of which no test runs a line is all declarations: whichever test uses them is not known, so all.
        """
        lines = {line: tests for line, tests in self.lines.get(m.module, {}).items() if tests}
        inside = m.where and any(lines.get(str(n)) for n in range(m.line, m.last + 1))
        span = range(m.line, m.last + 1) if inside else map(int, lines)
        found = {t for n in span for t in lines.get(str(n), ())} or (set() if m.where and lines else {*self.durations})
        spent, chosen = 0.0, []
        for test in sorted(found, key=lambda t: (self.durations.get(t, 0.0), t)):
            spent += self.durations.get(test, 0.0)
            if chosen and spent > ENOUGH_S:
                break
            chosen.append(test)
        return chosen


def coverage() -> Coverage:
    """Measured anew when any file of the program or of the tests has changed."""
    files = sorted(p for p in (ROOT / "tests").glob("test_*.py") if p.stem not in SLOW)
    digest = hashlib.sha256()
    for path in [*sorted((ROOT / "l3ha").rglob("*.py")), *sorted((ROOT / "tests").glob("*.py")), *files]:
        digest.update(path.read_bytes())
    kept = BUILD / f"coverage-{digest.hexdigest()[:16]}.json"
    if not kept.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        names = [str(p.relative_to(ROOT)) for p in files]
        argv = [sys.executable, "-m", "tests.mutation.covered", str(kept), *names]
        subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return Coverage(**json.loads(kept.read_text()))


def reasons() -> dict[str, str]:
    """Of survivors that somebody has looked at: name to reason."""
    text = REASONS.read_text() if REASONS.exists() else ""
    return {m["name"]: m["reason"].strip() for m in re.finditer(r"^- ``(?P<name>.+?)`` — (?P<reason>.+)$", text, re.M)}


# --- one mutant ----------------------------------------------------------------------------------------------------


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the changed module to whoever imports it."""

    def __init__(self, m: Mutant) -> None:
        self.path = ROOT / m.module
        self.name = m.module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        self.code = compile(m.tree(self.path.read_text()), str(self.path), "exec")

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Only this one."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Instead of what the file says."""
        exec(self.code, module.__dict__)


def _try(m: Mutant, tests: list[str]) -> int:
    """In the child: run the tests against the mutant."""
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in [n for n in sys.modules if re.match(r"(l3ha|lab|tests)(\.|$)", n) and "mutation" not in n]:
        del sys.modules[name]  # what was imported before knows nothing of the mutant
    sys.meta_path.insert(0, _Loader(m))
    quick_hypothesis()
    code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:timeout", "--no-header", "--tb=no", *tests])
    return UNNOTICED if int(code) == UNNOTICED else NOTICED


@dataclass(slots=True)
class _Child:
    mutant: Mutant
    until: float


def challenge(jobs: list[tuple[Mutant, list[str]]], limit: Coverage, workers: int) -> dict[str, str]:
    """Name to ``killed``, ``timeout``, ``survived`` or ``untested``."""
    verdicts: dict[str, str] = {m.name: "untested" for m, tests in jobs if not tests}
    todo = [(m, tests) for m, tests in jobs if tests]
    children: dict[int, _Child] = {}
    while todo or children:
        while todo and len(children) < workers:
            m, tests = todo.pop(0)
            pid = os.fork()
            if pid == 0:
                code = NOTICED  # whatever it raises, it is noticed
                try:
                    code = _try(m, tests)
                finally:
                    os._exit(code)
            patience = PATIENCE_S + 2 * sum(limit.durations.get(t, 0.0) for t in tests)
            children[pid] = _Child(m, time.monotonic() + patience)
        time.sleep(0.01)
        for pid, child in list(children.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                noticed = os.waitstatus_to_exitcode(status) != UNNOTICED
                verdicts[child.mutant.name] = "killed" if noticed else "survived"
            elif time.monotonic() > child.until:
                _end(pid)
                verdicts[child.mutant.name] = "timeout"
            else:
                continue
            del children[pid]
    return verdicts


def _end(pid: int) -> None:
    """A child and whatever it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# --- the run -------------------------------------------------------------------------------------------------------


def modules(only: str | None) -> list[str]:
    """The modules of core and wire, or those below a path."""
    if only is not None:
        chosen = ROOT / only
        found = [chosen] if chosen.is_file() else sorted(chosen.rglob("*.py"))
        if not found:
            raise SystemExit(f"{only}: there is no such module")
        return [str(p.relative_to(ROOT)) for p in found]
    return [str(p.relative_to(ROOT)) for w in WATCHED for p in sorted((ROOT / w).rglob("*.py"))]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make mutants", description="mutation run over l3ha/core and l3ha/wire")
    parser.add_argument("--only", help="a module or a directory")
    parser.add_argument("--sample", type=int, default=0, help="mutants per module; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="which sample")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    os.chdir(ROOT)
    known, measured, total = reasons(), coverage(), Counter[str]()
    unexplained = 0
    print(f"{'module':32} {'mutants':>8} {'killed':>8} {'survived':>9} {'explained':>10} {'seconds':>8}")
    for module in modules(args.only):
        began = time.monotonic()
        chosen = sample(mutants(ROOT, module), args.sample, args.seed)
        verdicts = challenge([(m, measured.tests(m)) for m in chosen], measured, args.jobs)
        left = [m for m in chosen if verdicts[m.name] in ("survived", "untested")]
        told = [m for m in left if m.name not in known]
        row = Counter(mutants=len(chosen), killed=len(chosen) - len(left), survived=len(left))
        row["explained"] = len(left) - len(told)
        total += row
        unexplained += len(told)
        _row(module, row, time.monotonic() - began)
        for m in told:
            print(f"    {m.module}:{m.line} {m.where}: {m.old}  →  {m.new}  [{verdicts[m.name]}]", flush=True)
    _row("all", total, 0)
    return 1 if unexplained else 0


def _row(name: str, row: Counter[str], seconds: float) -> None:
    figures = f"{row['mutants']:8} {row['killed']:8} {row['survived']:9} {row['explained']:10}"
    print(f"{name:32} {figures} {seconds:8.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

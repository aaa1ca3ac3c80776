"""Which test touches which line: one run of the fast tests under coverage, kept in ``build/`` until a file changes.

``python -m tests.mutation.covered OUT FILE...`` runs these test files and writes OUT: per test its duration, per line
of ``l3ha/core`` and ``l3ha/wire`` the tests that ran it. Lines run at import have no test of their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[2]
WATCHED = ("l3ha/core", "l3ha/wire")


def quick_hypothesis() -> None:
    """The same examples in every run, and no shrinking: only whether a test fails is asked."""
    settings.register_profile(
        "mutants", derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate)
    )
    settings.load_profile("mutants")


class Contexts:
    """Every test is a context of its own. Its set-up and tear-down count as part of it."""

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage
        self.durations: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Around each test."""
        self.coverage.switch_context(item.nodeid)
        result = yield
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """How long it took."""
        self.durations[report.nodeid] = self.durations.get(report.nodeid, 0) + report.duration
        if report.failed:
            raise SystemExit(f"{report.nodeid} fails without any mutant")


def main(out: str, files: list[str]) -> None:
    """See the module."""
    quick_hypothesis()
    coverage = Coverage(data_file=None, source=[str(ROOT / w) for w in WATCHED])
    coverage.start()
    contexts = Contexts(coverage)
    code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "not lab", *files], plugins=[contexts])
    coverage.stop()
    if code:
        raise SystemExit(f"the tests fail without any mutant (exit code {int(code)})")
    data = coverage.get_data()
    lines = {
        str(Path(file).relative_to(ROOT)): {
            line: sorted(filter(None, tests)) for line, tests in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    Path(out).write_text(json.dumps({"durations": contexts.durations, "lines": lines}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

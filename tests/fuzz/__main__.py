"""``make fuzz``: every decoder of the table under atheris (coverage-guided), one after the other.

    python -m tests.fuzz run [--minutes N] [--group NAME] [--out DIR]    N minutes for each group; or one, or a decoder
    python -m tests.fuzz only DECODER [libFuzzer's options]              one decoder, in this process
    python -m tests.fuzz try DECODER FILE                                one input, without atheris

What makes a check raise is kept as ``DIR/DECODER/crash-…``: mend the code, then move the file into the corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from pathlib import Path

SLOWEST_S = 10
"""One input must not take longer."""

MEMORY_MB = 1024

MAX_LEN = 4096
"""Long inputs belong to the ordinary tests: here they would only be slow."""


def main() -> int:
    """0 where nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    run.add_argument("--minutes", type=float, default=10)
    run.add_argument("--group", default="")
    run.add_argument("--out", type=Path, default=Path("build/fuzz"))
    only = verbs.add_parser("only")
    only.add_argument("decoder")
    once = verbs.add_parser("try")
    once.add_argument("decoder")
    once.add_argument("file", type=Path)
    args, options = parser.parse_known_args()
    match args.verb:
        case "run":
            return _all(args.minutes, args.group, args.out)
        case "only":
            return _fuzz(args.decoder, options)
        case _:
            from tests.fuzz.table import decoder  # noqa: PLC0415 - under atheris this import is instrumented

            decoder(args.decoder).check(args.file.read_bytes())
            return 0


def _all(minutes: float, group: str, out: Path) -> int:
    from tests.fuzz.table import DECODERS  # noqa: PLC0415

    size = Counter(d.group for d in DECODERS)
    chosen = [d for d in DECODERS if group in ("", d.group, d.name)]
    if not chosen:
        print(f"there is no group or decoder {group!r}; groups are {', '.join(size)}", file=sys.stderr)
        return 2
    found = []
    for d in chosen:
        seconds = round(minutes * 60 / (1 if group == d.name else size[d.group]))
        print(f"--- {d.group}/{d.name}: {seconds} s", flush=True)
        kept = out / d.name / "corpus"
        kept.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={seconds}", f"-timeout={SLOWEST_S}", f"-rss_limit_mb={MEMORY_MB}"]
        options += [f"-max_len={MAX_LEN}", f"-artifact_prefix={kept.parent}/", str(kept), str(d.corpus)]
        child = subprocess.run([sys.executable, "-m", "tests.fuzz", "only", d.name, *options], check=False)
        found += [d.name] * (child.returncode != 0)
    print("--- found something: " + ", ".join(found) if found else "--- nothing found", flush=True)
    return len(found)


def _fuzz(name: str, options: list[str]) -> int:
    import atheris  # noqa: PLC0415 - not a dependency of the ordinary tests

    with atheris.instrument_imports(include=["l3ha"]):
        from tests.fuzz.table import decoder  # noqa: PLC0415

        check = decoder(name).check
    check(b"")  # what is made once is made before the clock runs
    atheris.Setup([sys.argv[0], *options], check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m l3ha.speaker RUN_DIR``: the speaker without the command line round it."""

from __future__ import annotations

import sys

from l3ha.speaker.main import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1] if len(sys.argv) > 1 else "/run/l3ha"))

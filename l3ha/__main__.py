"""``python -m l3ha`` is ``l3ha``."""

from l3ha.cli.main import main

main()

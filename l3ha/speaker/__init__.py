"""The speaker process, which ExaBGP runs: a thin shell round ``l3ha.core.speaker``. Standard library only."""

"""l3ha: multinode high availability for Linux L3 nodes."""

__version__ = "0.1.0"

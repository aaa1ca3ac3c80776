"""The CLI <-> agent protocol: JSON lines over a unix socket. Standard library only, so that the CLI starts fast."""

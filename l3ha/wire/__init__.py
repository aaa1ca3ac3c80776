"""Bytes <-> values. Pure: no sockets, no clock, no randomness of its own."""

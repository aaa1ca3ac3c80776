"""The machines: pure, synchronous, deterministic."""

"""The machines: pure, synchronous, deterministic. ``Engine`` is the door to the agent's, ``Speaker`` to the speaker's."""

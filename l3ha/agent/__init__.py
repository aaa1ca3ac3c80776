"""The agent process: a thin asyncio shell round ``l3ha.core.engine``."""

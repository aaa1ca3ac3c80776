"""TOML -> settings, and the texts that are rendered from it."""

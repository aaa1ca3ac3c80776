"""The operator's errors. The peer's are counted drops, the world's are events, ours are assertions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong in a configuration file.

    ``str()`` gives ``file:line: key: what is wrong, what would be right``; line 0 means the file as a whole.
    """

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: "
        return f"{where}{self.key}: {self.text}" if self.key else f"{where}{self.text}"


class ConfigError(Exception):
    """All faults of a configuration at once, in order of their lines."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(map(str, self.faults)))

"""The lines of a trace, of a simulated world and of a replayed journal alike."""

from __future__ import annotations

from l3ha.base.time import SECOND, Instant
from l3ha.core.events import Answer, Note


def line(at: Instant, who: str, text: str) -> str:
    """One line: seconds, node, what happened."""
    return f"{at / SECOND:9.4f}  {who}  {text}"


def told(effect: Note | Answer) -> str:
    """What the engine says to people."""
    match effect:
        case Note(kind, text):
            rule = f" [{effect.rule}]" if effect.rule else ""
            named = text.startswith(f"{kind} ")
            return text if named and not rule else f"{kind}{rule} {text}"
        case Answer():
            return f"answer: {effect.text}"

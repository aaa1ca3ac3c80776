"""What a new reading of the configuration may change while the agent runs."""

from __future__ import annotations

from l3ha.base.settings import Settings

_FIXED = {
    "cluster": "cluster.name",
    "id": "the id of this node",
    "name": "the name of this node",
    "private_key": "the private key of this node",
    "public_key": "the public key of this node",
    "psk": "icl.psk_file",
}
"""Fields that the sessions with the peers are made of, and how the file calls them."""


def fixed_changes(old: Settings, new: Settings) -> list[str]:
    """What differs and cannot change without a restart; empty when the new settings may be taken over.

    Keys are named, never shown.
    """
    found = [text for field, text in _FIXED.items() if getattr(old, field) != getattr(new, field)]
    before, after = {p.id: p for p in old.peers}, {p.id: p for p in new.peers}
    for node in sorted(before.keys() | after.keys()):
        was, will = before.get(node), after.get(node)
        if was is None or will is None:
            found.append(f"{'an additional' if was is None else 'a missing'} node {node}")
        elif was.public_key != will.public_key:
            found.append(f"the public key of node {was.name}")
        elif was != will:
            found.append(f"the name or the paths of node {was.name}")
    return found

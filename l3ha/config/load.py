"""The two ways into the configuration: ``load`` for a node that runs, ``check`` for a person who writes.

text -> document -> relations -> (secrets) -> settings          every step adds its faults, none stops at the first
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from l3ha.base.errors import ConfigError, Fault
from l3ha.base.settings import Settings
from l3ha.config import build, lint, relations
from l3ha.config.build import Secrets
from l3ha.config.digest import digests
from l3ha.config.document import Document, read, suggestion
from l3ha.config.keyfiles import secrets_of


def load(path: str | Path, node: str | None = None, *, secrets: bool = True) -> Settings:
    """Settings of one node. ``node`` None: ``L3HA_NODE``, else the host name.

    Without ``secrets`` no other file is read: keys are empty, a configured BGP password is empty text. Raises
    ``ConfigError`` with all faults at once.
    """
    document = read(path)
    faults = errors_of(document)
    name = _own_name(document, node, faults)
    found = Secrets()
    if secrets and name in document.nodes:
        found = secrets_of(document, name, faults)
    if faults:
        raise ConfigError(faults)
    return settings_for(document, name, found)


def check(path: str | Path, node: str | None = None) -> tuple[list[Fault], list[Fault]]:
    """Errors and warnings of a file, for all its nodes; with ``node`` its secret files are read too."""
    document = read(path)
    errors = errors_of(document)
    if node is not None and _own_name(document, node, errors) in document.nodes:
        secrets_of(document, node, errors)
    return sorted(errors), sorted(lint.warnings(document)) if not errors else []


def errors_of(document: Document) -> list[Fault]:
    """All faults that the file itself shows."""
    return document.faults + list(relations.faults(document))


def settings_for(document: Document, node: str, secrets: Secrets | None = None) -> Settings:
    """Settings of one node of a document without faults."""
    digest, sections = digests(document)
    return build.settings_for(document, node, secrets or Secrets(), digest, sections)


def _own_name(document: Document, node: str | None, faults: list[Fault]) -> str:
    """The name of this node; a fault where the file does not know it."""
    host = socket.gethostname()
    given = node or os.environ.get("L3HA_NODE")
    name = given or (host if host in document.names else host.partition(".")[0])
    if name not in document.names and document.names:
        origin = "" if given else " (the host name)"
        text = (
            f'there is no node "{name}"{origin}, those are '
            f"{', '.join(document.names)}{suggestion(name, document.names)}"
        )
        faults.append(document.fault(("node",), text + "; say which one with --node or L3HA_NODE"))
    return name

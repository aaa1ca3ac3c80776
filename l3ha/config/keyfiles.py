"""Secret files: private key, pre-shared key, BGP passwords. Their contents never reach a message."""

from __future__ import annotations

import base64
import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from l3ha.base.errors import Fault
from l3ha.config.build import Secrets
from l3ha.config.document import Document
from l3ha.config.fields import decode_key
from l3ha.config.lines import KeyPath
from l3ha.wire.noise import public_key

MAX_SECRET = 4096
"""Bytes of a secret file."""

_PASSWORD = re.compile(r"[A-Za-z0-9!$%&*+./:<=>?@^_~-]{1,80}", re.ASCII)
"""80 bytes at most (RFC 2385), and nothing that ExaBGP's configuration could read as syntax."""

_BFD_KEY = re.compile(r"[!-~]{1,20}", re.ASCII)

_Value = TypeVar("_Value")


def secrets_of(document: Document, name: str, faults: list[Fault]) -> Secrets:
    """Read what one node needs; every fault is appended to ``faults``, and its secret is empty in the result."""
    node = document.nodes[name]
    private = _read(
        document, ("node", name, "private_key_file"), node.private_key_file or f"{name}.key", decode_key, faults
    )
    if private is not None and base64.b64decode(node.public_key) != public_key(private):
        text = f"the private key in {private_key_path(document, name)} is not the half of this public key"
        faults.append(document.fault(("node", name, "public_key"), f"{text}; `l3ha keygen` printed the right one"))
    psk: bytes | None = bytes(32)
    if document.icl is not None and document.icl.psk_file is not None:
        psk = _read(document, ("icl", "psk_file"), document.icl.psk_file, decode_key, faults)
    passwords, bfd_keys = {}, {}
    for key, neighbor in node.neighbor.items():
        if neighbor.password_file is not None:
            place: KeyPath = ("node", name, "neighbor", key, "password_file")
            password = _read(document, place, neighbor.password_file, _password, faults)
            passwords[key] = password or ""
        if neighbor.bfd is not None and neighbor.bfd.auth is not None:
            place = ("node", name, "neighbor", key, "bfd", "auth", "key_file")
            bfd_keys[key] = _read(document, place, neighbor.bfd.auth.key_file, _bfd_key, faults) or b""
    return Secrets(private or b"", psk or bytes(32), passwords, bfd_keys)


def private_key_path(document: Document, name: str) -> Path:
    """Where a node's private key is."""
    return document.directory / (document.nodes[name].private_key_file or f"{name}.key")


def _read(
    document: Document, key: KeyPath, file: str, decode: Callable[[str], _Value], faults: list[Fault]
) -> _Value | None:
    path = document.directory / file
    try:
        return decode(_text(path))
    except OSError as error:
        faults.append(document.fault(key, f"{path}: cannot be read: {error.strerror}"))
    except ValueError as error:
        faults.append(document.fault(key, f"{path}: {error}"))
    return None


def _text(path: Path) -> str:
    # O_NONBLOCK: a named pipe in the place of a file must not stop the start of the agent
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if (mode := stat.S_IMODE(status.st_mode)) & 0o077:
            raise ValueError(f"is open to group or others (mode {mode:04o}), must be 0600: chmod 600 it")
        data = os.read(descriptor, MAX_SECRET + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_SECRET:
        raise ValueError(f"is larger than {MAX_SECRET} bytes")
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError("holds characters that are not ASCII") from None


def _password(text: str) -> str:
    if not _PASSWORD.fullmatch(text):
        raise ValueError("must hold 1 to 80 letters, digits and ! $ % & * + - . / : < = > ? @ ^ _ ~")
    return text


def _bfd_key(text: str) -> bytes:
    if not _BFD_KEY.fullmatch(text):
        raise ValueError("must hold 1 to 20 printable characters without blanks (RFC 5880 section 4.4)")
    return text.encode()

"""Noise protocol framework, revision 34: the handshake core, for X25519, ChaCha20-Poly1305 and BLAKE2s.

Only what a pinned-key link needs: token lists, pre-messages with static keys, pre-shared keys. Section numbers below
are those of the specification. Ephemeral keys are arguments, so a handshake is a function of its inputs and runs
against published vectors; whoever calls owes each handshake fresh entropy.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import blake2s
from struct import Struct
from typing import Literal, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_SIZE = 32
TAG_SIZE = 16
Token: TypeAlias = Literal["e", "s", "ee", "es", "se", "ss", "psk"]
_NONCE = Struct("<4xQ")


class NoiseError(Exception):
    """A message does not fit: wrong key, pre-shared key or prologue, wrong length, or an unusable public key."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One handshake pattern (section 7): who knows whose static key beforehand, and the tokens of each message."""

    name: str
    initiator_known: bool
    responder_known: bool
    messages: tuple[tuple[Token, ...], ...]

    @property
    def protocol(self) -> bytes:
        """The full protocol name, which starts the transcript hash (section 8)."""
        return f"Noise_{self.name}_25519_ChaChaPoly_BLAKE2s".encode()

    @property
    def psk(self) -> bool:
        """Whether the pattern mixes in a pre-shared key; then ephemerals are mixed as keys too (section 9.2)."""
        return any("psk" in tokens for tokens in self.messages)


KK = Pattern("KK", True, True, (("e", "es", "ss"), ("e", "ee", "se")))
KKPSK0 = Pattern("KKpsk0", True, True, (("psk", "e", "es", "ss"), ("e", "ee", "se")))


def public_key(private: bytes) -> bytes:
    """Public half of a raw 32-byte X25519 private key. ``ValueError`` where it is not 32 bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def exchange(private: bytes, public: bytes) -> bytes:
    """X25519. ``NoiseError`` for a point of low order (all-zero result, RFC 7748 section 6.1) or a wrong length."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise NoiseError("unusable public key") from error


class Cipher:
    """One direction's key. The nonce is the caller's: it travels in the packet, and must never seal twice."""

    __slots__ = ("_aead", "key")

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self.key = key
        """For the journal, which must be able to make this object again."""

    def seal(self, nonce: int, header: bytes, plaintext: bytes) -> bytes:
        """Encrypt, authenticate ``header`` along. The result is 16 bytes longer than ``plaintext``."""
        return self._aead.encrypt(_NONCE.pack(nonce), plaintext, header)

    def open(self, nonce: int, header: bytes, sealed: bytes) -> bytes:
        """Inverse of ``seal``; ``NoiseError`` where one bit differs."""
        try:
            return self._aead.decrypt(_NONCE.pack(nonce), sealed, header)
        except InvalidTag as error:
            raise NoiseError("bad seal") from error


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "blake2s")


def _hkdf(chaining: bytes, material: bytes, outputs: Literal[2, 3]) -> list[bytes]:
    """HKDF of section 4.3."""
    secret = _hmac(chaining, material)
    results = [_hmac(secret, b"\x01")]
    for number in range(2, outputs + 1):
        results.append(_hmac(secret, results[-1] + bytes((number,))))
    return results


class _Symmetric:
    """SymmetricState with its CipherState (sections 5.1 and 5.2)."""

    __slots__ = ("chaining", "cipher", "hash", "nonce")

    def __init__(self, protocol: bytes) -> None:
        self.hash = protocol.ljust(32, b"\0") if len(protocol) <= 32 else blake2s(protocol).digest()
        self.chaining = self.hash
        self.cipher: Cipher | None = None
        self.nonce = 0

    def copy(self) -> _Symmetric:
        twin = _Symmetric(b"")
        twin.hash, twin.chaining, twin.cipher, twin.nonce = self.hash, self.chaining, self.cipher, self.nonce
        return twin

    def mix_hash(self, data: bytes) -> None:
        self.hash = blake2s(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining, key = _hkdf(self.chaining, material, 2)
        self.cipher, self.nonce = Cipher(key), 0

    def mix_key_and_hash(self, material: bytes) -> None:
        self.chaining, middle, key = _hkdf(self.chaining, material, 3)
        self.mix_hash(middle)
        self.cipher, self.nonce = Cipher(key), 0

    def seal(self, plaintext: bytes) -> bytes:
        sealed = plaintext if self.cipher is None else self.cipher.seal(self.nonce, self.hash, plaintext)
        self.nonce += 1
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        plaintext = sealed if self.cipher is None else self.cipher.open(self.nonce, self.hash, sealed)
        self.nonce += 1
        self.mix_hash(sealed)
        return plaintext


class Handshake:
    """HandshakeState (section 5.3) of one side. Call ``write`` and ``read`` in turn, then ``split``.

    ``read`` changes nothing unless the whole message is genuine, so a forged answer does not spoil the true one that
    comes after it. Keys are raw 32 bytes. ``NoiseError`` where a key that the pattern needs is missing or unusable.
    """

    def __init__(
        self,
        pattern: Pattern,
        *,
        initiator: bool,
        prologue: bytes,
        ephemeral: bytes,
        static: bytes | None = None,
        remote_static: bytes | None = None,
        psk: bytes | None = None,
    ) -> None:
        self._pattern = pattern
        self._initiator = initiator
        self._ephemeral = ephemeral
        self._static = static
        self._remote_static = remote_static
        self._remote_ephemeral: bytes | None = None
        self._psk = psk
        self._step = 0
        self._symmetric = _Symmetric(pattern.protocol)
        self._symmetric.mix_hash(prologue)
        own_known, remote_known = pattern.initiator_known, pattern.responder_known
        if not initiator:
            own_known, remote_known = remote_known, own_known
        own = public_key(_need(static)) if own_known else b""
        remote = _need(remote_static) if remote_known else b""
        for known in (own, remote) if initiator else (remote, own):
            if known:
                self._symmetric.mix_hash(known)

    @property
    def hash(self) -> bytes:
        """Transcript hash: the same on both sides exactly if they saw the same handshake (section 11.2)."""
        return self._symmetric.hash

    @property
    def finished(self) -> bool:
        """All messages are through; ``split`` may follow."""
        return self._step == len(self._pattern.messages)

    def write(self, payload: bytes = b"") -> bytes:
        """The next message of this side."""
        parts = [self._write_token(token) for token in self._pattern.messages[self._step]]
        self._step += 1
        return b"".join(parts) + self._symmetric.seal(payload)

    def read(self, message: bytes) -> bytes:
        """Take the other side's next message and return its payload. ``NoiseError``: refused, and nothing changed."""
        before = self._symmetric.copy(), self._remote_ephemeral, self._remote_static
        try:
            rest = message
            for token in self._pattern.messages[self._step]:
                rest = self._read_token(token, rest)
            payload = self._symmetric.open(rest)
        except NoiseError:
            self._symmetric, self._remote_ephemeral, self._remote_static = before
            raise
        self._step += 1
        return payload

    def split(self) -> tuple[Cipher, Cipher]:
        """(sending, receiving) of this side; only after the last message."""
        if not self.finished:
            raise NoiseError("handshake is not finished")
        first, second = (Cipher(key) for key in _hkdf(self._symmetric.chaining, b"", 2))
        return (first, second) if self._initiator else (second, first)

    def _write_token(self, token: Token) -> bytes:
        match token:
            case "e":
                public = public_key(self._ephemeral)
                self._mix_ephemeral(public)
                return public
            case "s":
                return self._symmetric.seal(public_key(_need(self._static)))
            case _:
                self._mix(token)
                return b""

    def _read_token(self, token: Token, rest: bytes) -> bytes:
        match token:
            case "e":
                self._remote_ephemeral, rest = _cut(rest, KEY_SIZE)
                self._mix_ephemeral(self._remote_ephemeral)
            case "s":
                sealed, rest = _cut(rest, KEY_SIZE if self._symmetric.cipher is None else KEY_SIZE + TAG_SIZE)
                self._remote_static = self._symmetric.open(sealed)
            case _:
                self._mix(token)
        return rest

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        if self._pattern.psk:
            self._symmetric.mix_key(public)

    def _mix(self, token: Literal["ee", "es", "se", "ss", "psk"]) -> None:
        if token == "psk":  # noqa: S105 - the name of a token, no secret
            self._symmetric.mix_key_and_hash(_need(self._psk))
            return
        own, remote = (0, 1) if self._initiator else (1, 0)
        private = self._ephemeral if token[own] == "e" else _need(self._static)
        public = _need(self._remote_ephemeral if token[remote] == "e" else self._remote_static)
        self._symmetric.mix_key(exchange(private, public))


def _need(key: bytes | None) -> bytes:
    if key is None or len(key) != KEY_SIZE:
        raise NoiseError("the pattern needs a key of 32 bytes that is missing")
    return key


def _cut(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise NoiseError("message too short")
    return data[:size], data[size:]

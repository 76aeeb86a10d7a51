"""Keys: Ed25519 for who sealed a segment, X25519 for who may read it."""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import nacl.signing
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl.exceptions import CryptoError

from rekam.domain.errors import Misconfigured
from rekam.domain.ids import KeyId

RAW_KEY_BYTES = 32
PERSON_KEY_BYTES = 32
NIK_KEY_BYTES = 32


def key_id(raw: bytes) -> KeyId:
    """Name a raw public key by the first 16 bytes of its SHA-256."""
    return KeyId(hashlib.sha256(raw).digest()[:16].hex())


def _raw_from_text(text: str, *, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misconfigured([f"{what} is not base64; wanted 44 characters"]) from error
    if len(raw) != RAW_KEY_BYTES:
        raise Misconfigured([f"{what} has {len(raw)} bytes; wanted {RAW_KEY_BYTES}"])
    return raw


@dataclass(frozen=True)
class VerifyKey:
    """Public half of a signing key."""

    raw: bytes

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read base64 of the raw key. Raises Misconfigured when it is none."""
        return cls(_raw_from_text(text, what="Ed25519 public key"))

    def to_text(self) -> str:
        """Return base64 of the raw key."""
        return base64.b64encode(self.raw).decode()

    @cached_property
    def id(self) -> KeyId:
        """Return the key's id."""
        return key_id(self.raw)

    @cached_property
    def _key(self) -> nacl.signing.VerifyKey:
        return nacl.signing.VerifyKey(self.raw)

    def is_signature_of(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature` is this key's signature of `message`.

        By libsodium: half of OpenSSL's time, and strict about keys and points of low order.
        Source: docs/adr/0006-verify-signatures-with-libsodium.md
        """
        try:
            self._key.verify(message, signature)
        except CryptoError:
            return False
        return True


@dataclass(frozen=True)
class ReaderPublicKey:
    """Key to which segment bodies are encrypted."""

    raw: bytes

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read base64 of the raw key. Raises Misconfigured when nothing can be encrypted to it."""
        found = cls(_raw_from_text(text, what="X25519 public key"))
        try:
            X25519PrivateKey.generate().exchange(found.key)
        except ValueError as error:  # a point of low order: the secret would be the same for all
            raise Misconfigured(
                ["X25519 public key is a point of low order; wanted a real one"]
            ) from error
        return found

    def to_text(self) -> str:
        """Return base64 of the raw key."""
        return base64.b64encode(self.raw).decode()

    @cached_property
    def id(self) -> KeyId:
        """Return the key's id."""
        return key_id(self.raw)

    @cached_property
    def key(self) -> X25519PublicKey:
        """Return the key for the HPKE library."""
        return X25519PublicKey.from_public_bytes(self.raw)


class SigningKey:
    """Private Ed25519 key of one producer; it never leaves the producer."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = VerifyKey(
            key.public_key().public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw
            )
        )

    @classmethod
    def generate(cls) -> Self:
        """Make a new random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Make the key of a 32-byte seed: for test vectors and seeded simulations only."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a PKCS #8 PEM file. Raises Misconfigured when it cannot serve."""
        key = _load_pem(path)
        if not isinstance(key, Ed25519PrivateKey):
            raise Misconfigured([f"{path} holds no Ed25519 private key; restore it or enrol again"])
        return cls(key)

    @property
    def id(self) -> KeyId:
        """Return the id of the public half."""
        return self.public.id

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._key.sign(message)

    def save(self, path: Path) -> None:
        """Write a new PEM file readable by its owner alone; durable when this returns.

        Raises FileExistsError rather than replacing a key.
        """
        _save_pem(path, self._key)


class ReaderPrivateKey:
    """Private X25519 key that opens segment bodies; only servers hold it."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self.key = key
        self.public = ReaderPublicKey(
            key.public_key().public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw
            )
        )

    @classmethod
    def generate(cls) -> Self:
        """Make a new random key."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Make the key of 32 bytes: for test vectors and seeded simulations only."""
        return cls(X25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a PKCS #8 PEM file. Raises Misconfigured when it cannot serve."""
        key = _load_pem(path)
        if not isinstance(key, X25519PrivateKey):
            raise Misconfigured([f"{path} holds no X25519 private key; restore it from backup"])
        return cls(key)

    @property
    def id(self) -> KeyId:
        """Return the id of the public half."""
        return self.public.id

    def save(self, path: Path) -> None:
        """Write a new PEM file readable by its owner alone; durable when this returns.

        Raises FileExistsError rather than replacing a key.
        """
        _save_pem(path, self.key)


def _load_pem(path: Path) -> object:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise Misconfigured([f"key file {path} does not exist; restore it from backup"]) from error
    except OSError as error:
        raise Misconfigured([f"key file {path} cannot be read: {error.strerror}"]) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Misconfigured([f"key file {path} is not an unencrypted PKCS #8 PEM file"]) from error


def _save_pem(path: Path, key: Ed25519PrivateKey | X25519PrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_secret(path, pem)


def write_secret(path: Path, secret: bytes) -> None:
    """Write a new file of mode 0600 and make it durable: whole or not at all.

    Raises FileExistsError if it is there: a secret is never replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of an earlier life that had our number
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        temporary.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

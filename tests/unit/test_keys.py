"""Keys: what loads, what does not and says why, and that no key is ever overwritten."""

import base64
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rekam.domain.errors import Misconfigured
from rekam.domain.keys import (
    ReaderPrivateKey,
    ReaderPublicKey,
    SigningKey,
    VerifyKey,
    key_id,
    write_secret,
)

Loader = Callable[[Path], object]
LOADERS: tuple[Loader, ...] = (SigningKey.load, ReaderPrivateKey.load)


def fault(load: Callable[[], object]) -> str:
    with pytest.raises(Misconfigured) as raised:
        load()
    return str(raised.value)


def test_a_key_id_is_half_a_sha256_of_the_raw_key() -> None:
    assert key_id(bytes(32)) == "66687aadf862bd776c8fc18b8e9f8e20"


def test_a_signing_key_comes_back_from_its_file(tmp_path: Path) -> None:
    key = SigningKey.generate()
    key.save(tmp_path / "signing.pem")
    loaded = SigningKey.load(tmp_path / "signing.pem")
    assert loaded.public == key.public
    assert key.public.is_signature_of(loaded.sign(b"message"), b"message")
    assert not key.public.is_signature_of(loaded.sign(b"message"), b"another")


def test_a_reader_key_comes_back_from_its_file(tmp_path: Path) -> None:
    key = ReaderPrivateKey.generate()
    key.save(tmp_path / "reader.pem")
    assert ReaderPrivateKey.load(tmp_path / "reader.pem").public == key.public


def test_a_public_key_comes_back_from_its_text() -> None:
    signing, reader = SigningKey.generate(), ReaderPrivateKey.generate()
    assert VerifyKey.from_text(f" {signing.public.to_text()}\n") == signing.public
    assert ReaderPublicKey.from_text(reader.public.to_text()) == reader.public


def test_a_saved_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    SigningKey.generate().save(tmp_path / "keys" / "signing.pem")
    mode = (tmp_path / "keys" / "signing.pem").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_saving_never_replaces_a_key(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    key = SigningKey.generate()
    key.save(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        SigningKey.generate().save(path)
    assert path.read_bytes() == before


def test_a_secret_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "secret", b"secret")
    assert (tmp_path / "elsewhere").read_bytes() == b""


@pytest.mark.parametrize("load", LOADERS)
def test_a_missing_key_file_is_named(load: Loader, tmp_path: Path) -> None:
    path = tmp_path / "none.pem"
    assert fault(lambda: load(path)) == f"key file {path} does not exist; restore it from backup"


@pytest.mark.parametrize("load", LOADERS)
def test_a_key_file_that_cannot_be_read_is_named_with_the_cause(
    load: Loader, tmp_path: Path
) -> None:
    assert fault(lambda: load(tmp_path)) == f"key file {tmp_path} cannot be read: Is a directory"


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("content", [b"", b"secret", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_file_without_a_key_is_refused_without_showing_it(
    load: Loader, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    message = fault(lambda: load(path))
    assert message == f"key file {path} is not an unencrypted PKCS #8 PEM file"


def test_an_encrypted_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    assert "is not an unencrypted PKCS #8 PEM file" in fault(lambda: SigningKey.load(path))


def test_a_key_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    SigningKey.generate().save(tmp_path / "signing.pem")
    ReaderPrivateKey.generate().save(tmp_path / "reader.pem")
    (tmp_path / "ec.pem").write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    assert "holds no X25519" in fault(lambda: ReaderPrivateKey.load(tmp_path / "signing.pem"))
    assert "holds no Ed25519" in fault(lambda: SigningKey.load(tmp_path / "reader.pem"))
    assert "holds no Ed25519" in fault(lambda: SigningKey.load(tmp_path / "ec.pem"))


@pytest.mark.parametrize("read", [VerifyKey.from_text, ReaderPublicKey.from_text])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 bytes; wanted 32"),
        ("not base64!", "is not base64; wanted 44 characters"),
        ("ключ", "is not base64; wanted 44 characters"),
        (base64.b64encode(bytes(31)).decode(), "has 31 bytes; wanted 32"),
        (base64.b64encode(bytes(33)).decode(), "has 33 bytes; wanted 32"),
    ],
)
def test_a_text_that_is_no_public_key_says_what_is_wanted(
    read: Callable[[str], object], text: str, message: str
) -> None:
    assert message in fault(lambda: read(text))


@pytest.mark.parametrize("raw", [bytes(32), b"\1" + bytes(31)])
def test_a_reader_key_of_low_order_is_refused(raw: bytes) -> None:
    """Everyone could read what is encrypted to it."""
    text = base64.b64encode(raw).decode()
    assert "low order" in fault(lambda: ReaderPublicKey.from_text(text))


@pytest.mark.parametrize("raw", [bytes(32), b"\1" + bytes(31), b"\xff" * 32])
def test_a_verify_key_that_is_no_point_verifies_nothing(raw: bytes) -> None:
    signature = SigningKey.generate().sign(b"message")
    assert not VerifyKey(raw).is_signature_of(signature, b"message")


def test_a_private_key_does_not_show_itself() -> None:
    seed = bytes(range(32))
    for key in (SigningKey.from_seed(seed), ReaderPrivateKey.from_seed(seed)):
        assert seed.hex() not in repr(key)
        assert repr(seed)[2:-1] not in repr(key)

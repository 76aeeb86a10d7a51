"""The office's key files: made once, read with care, every fault named."""

from pathlib import Path

import pytest

from rekam.domain.errors import Misconfigured
from rekam.domain.keys import ReaderPrivateKey, SigningKey
from rekam.runtime.keyring import (
    load_api_callers,
    load_api_token,
    load_nik_key,
    load_person_key,
    load_reader_public,
    load_readers,
    load_receipt_key,
    load_receipt_public,
    load_registrar_key,
    load_snapshot_key,
    load_snapshot_public,
    make_missing_keys,
    reader_public_path,
    receipt_public_path,
    snapshot_public_path,
    write_public,
)
from rekam.runtime.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give settings whose keys are made."""
    settings = Settings.load({"REKAM_HOME": str(tmp_path)})
    make_missing_keys(settings)
    return settings


def files(settings: Settings) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in sorted((settings.home / "keys").rglob("*"))
        if path.is_file()
    }


def test_made_keys_load_and_fit_together(settings: Settings) -> None:
    [reader] = load_readers(settings)
    assert load_reader_public(settings) == reader.public
    assert len(load_person_key(settings)) == 32
    assert len(load_nik_key(settings)) == 32
    assert load_nik_key(settings) != load_person_key(settings)
    assert len(load_api_token(settings)) >= 32
    assert load_receipt_public(settings) == load_receipt_key(settings).public
    assert load_snapshot_public(settings) == load_snapshot_key(settings).public


def test_made_secrets_are_readable_by_their_owner_alone(settings: Settings) -> None:
    modes = {path: path.stat().st_mode & 0o777 for path in files(settings)}
    assert modes.pop(reader_public_path(settings)) == 0o644
    assert modes.pop(receipt_public_path(settings)) == 0o644
    assert modes.pop(snapshot_public_path(settings)) == 0o644
    assert len(modes) == 6
    assert set(modes.values()) == {0o600}


def test_making_keys_again_replaces_none(settings: Settings) -> None:
    before = files(settings)
    make_missing_keys(settings)
    assert files(settings) == before


def test_public_reader_key_lost_between_two_writes_is_made_again(settings: Settings) -> None:
    path = reader_public_path(settings)
    before = path.read_text()
    path.unlink()
    make_missing_keys(settings)
    assert path.read_text() == before


def test_public_receipt_key_lost_between_two_writes_is_made_again(settings: Settings) -> None:
    path = receipt_public_path(settings)
    before = path.read_text()
    path.unlink()
    make_missing_keys(settings)
    assert path.read_text() == before


def test_receipt_key_that_devices_may_trust_already_is_not_replaced(settings: Settings) -> None:
    settings.receipt_key.unlink()
    with pytest.raises(Misconfigured, match=r"receipt.pub is there. Restore the file"):
        make_missing_keys(settings)


def test_which_of_several_reader_keys_is_the_newest_is_not_guessed(settings: Settings) -> None:
    ReaderPrivateKey.generate().save(settings.reader_keys / "second.pem")
    reader_public_path(settings).unlink()
    with pytest.raises(Misconfigured, match="holds 2 keys"):
        make_missing_keys(settings)


def test_older_reader_keys_still_open(settings: Settings) -> None:
    ReaderPrivateKey.generate().save(settings.reader_keys / "second.pem")
    assert len({reader.id for reader in load_readers(settings)}) == 2


def test_registrar_key_is_not_made_and_loads_when_it_is_written(settings: Settings) -> None:
    assert not settings.registrar_key.exists()
    with pytest.raises(Misconfigured, match=r"REKAM_REGISTRAR_KEY, .*: does not exist"):
        load_registrar_key(settings)
    public = SigningKey.generate().public
    write_public(settings.registrar_key, public.to_text())
    assert load_registrar_key(settings) == public


def test_missing_secrets_are_named_with_their_setting_and_the_remedy(tmp_path: Path) -> None:
    settings = Settings.load({"REKAM_HOME": str(tmp_path)})
    for load, variable in (
        (load_readers, "REKAM_READER_KEYS"),
        (load_reader_public, "REKAM_READER_KEYS"),
        (load_person_key, "REKAM_PERSON_KEY"),
        (load_nik_key, "REKAM_NIK_KEY"),
        (load_api_token, "REKAM_API_TOKEN"),
        (load_receipt_key, "REKAM_RECEIPT_KEY"),
        (load_receipt_public, "REKAM_RECEIPT_KEY"),
        (load_snapshot_key, "REKAM_SNAPSHOT_KEY"),
        (load_snapshot_public, "REKAM_SNAPSHOT_KEY"),
    ):
        with pytest.raises(Misconfigured, match=rf"{variable}, .*Run `rekam up`"):
            load(settings)


def test_secret_that_others_may_read_is_refused(settings: Settings) -> None:
    [reader] = settings.reader_keys.iterdir()
    for path, load in (
        (reader, load_readers),
        (settings.person_key, load_person_key),
        (settings.nik_key, load_nik_key),
        (settings.api_token, load_api_token),
        (settings.receipt_key, load_receipt_key),
        (settings.snapshot_key, load_snapshot_key),
    ):
        path.chmod(0o640)
        with pytest.raises(Misconfigured, match=f"Run: chmod 600 {path}"):
            load(settings)


def test_every_bad_reader_key_is_told_at_once(settings: Settings) -> None:
    SigningKey.generate().save(settings.reader_keys / "signing.pem")
    (settings.reader_keys / "empty.pem").touch(mode=0o600)
    with pytest.raises(Misconfigured) as caught:
        load_readers(settings)
    assert len(caught.value.faults) == 2
    assert "holds no X25519 private key" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "has 0 bytes; wanted 32"),
        (b"00" * 31, "has 31 bytes; wanted 32"),
        (b"z" * 64, "is not hexadecimal; wanted 64 digits"),
        (b"0" * 63, "is not hexadecimal"),
        (b"\xff\xfe", "is not a text file"),
        (b"0" * 5000, "larger than any key"),
    ],
)
def test_garbled_person_key_is_refused_without_showing_it(
    settings: Settings, content: bytes, fault: str
) -> None:
    settings.person_key.write_bytes(content)
    with pytest.raises(Misconfigured, match=f"REKAM_PERSON_KEY, .*{fault}") as caught:
        load_person_key(settings)
    assert "zzzz" not in str(caught.value)


def test_callers_have_a_name_and_a_token_each(settings: Settings) -> None:
    one, other = "t" * 40, "u" * 40
    settings.api_token.write_text(f"{one}\n")
    assert load_api_callers(settings) == {one: "office"}
    settings.api_token.write_text(f"loket-1 {one}\nauditor  {other}\n")
    assert load_api_callers(settings) == {one: "loket-1", other: "auditor"}
    assert load_api_token(settings) == one


@pytest.mark.parametrize(
    "content",
    [f"a {'t' * 40}\nb {'t' * 40}", f"a {'t' * 40}\na {'u' * 40}", f"{'t' * 40}\n{'u' * 40}"],
)
def test_two_callers_with_one_name_or_token_are_refused(settings: Settings, content: str) -> None:
    settings.api_token.write_text(content)
    with pytest.raises(Misconfigured, match="line 2 repeats a name or a token") as caught:
        load_api_callers(settings)
    assert "tttt" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "short", f"{'t' * 40} {'t' * 40}", f"a {'t' * 40} b", f"A {'t' * 40}"]
)
def test_garbled_api_token_is_refused(settings: Settings, content: str) -> None:
    settings.api_token.write_text(content)
    with pytest.raises(Misconfigured, match=r"REKAM_API_TOKEN, .*is no token"):
        load_api_token(settings)


@pytest.mark.parametrize("content", ["", "no base64!", "QUJD"])
def test_garbled_registrar_key_is_refused(settings: Settings, content: str) -> None:
    settings.registrar_key.write_text(content)
    with pytest.raises(Misconfigured, match="REKAM_REGISTRAR_KEY, "):
        load_registrar_key(settings)


def test_folder_in_place_of_a_key_is_refused(settings: Settings) -> None:
    settings.registrar_key.mkdir()
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_registrar_key(settings)

"""The trust root is made once, and never guessed."""

from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.office.desk import state
from producers.office.registrar import ensure_registrar, registrar_folder
from rekam.domain.errors import Misconfigured
from rekam.domain.events import ProducerRevoked
from rekam.runtime.keyring import load_registrar_key
from rekam.runtime.settings import Settings
from tests.support.office import NOBODY, new_office

REVOKED = ProducerRevoked(producer="kit-1", effective_ms=0, reason="stolen")


def test_a_first_start_makes_the_registrar_and_writes_its_public_key(tmp_path: Path) -> None:
    settings = new_office(tmp_path)
    with ensure_registrar(settings) as home:
        assert (home.producer, home.kind) == ("registrar", "registrar")
        assert load_registrar_key(settings).raw == home.signing_key.public.raw


def test_a_later_start_opens_the_same_registrar(tmp_path: Path) -> None:
    settings = new_office(tmp_path)
    with ensure_registrar(settings) as first:
        key = first.signing_key.id
    with ensure_registrar(settings) as again:
        assert again.signing_key.id == key


def test_a_trust_root_without_its_registrar_is_refused(tmp_path: Path) -> None:
    ensure_registrar(new_office(tmp_path / "a")).close()
    settings = new_office(tmp_path / "b")
    settings.registrar_key.write_bytes((tmp_path / "a" / "keys" / "registrar.pub").read_bytes())
    with pytest.raises(Misconfigured, match="no registrar in"):
        ensure_registrar(settings)
    assert not registrar_folder(settings).exists()


def test_a_making_that_was_cut_off_before_the_key_file_is_finished(tmp_path: Path) -> None:
    settings = new_office(tmp_path)
    with ensure_registrar(settings) as home:
        key = home.signing_key.id
    settings.registrar_key.unlink()
    ensure_registrar(settings).close()
    assert load_registrar_key(settings).id == key


def test_a_registrar_at_work_without_its_key_file_is_refused(tmp_path: Path) -> None:
    settings = new_office(tmp_path)
    with ensure_registrar(settings) as home:
        state(home, [REVOKED])
    settings.registrar_key.unlink()
    with pytest.raises(Misconfigured, match=r"Restore the file"):
        ensure_registrar(settings)
    assert not settings.registrar_key.exists()


def test_a_key_file_of_another_registrar_is_refused(tmp_path: Path) -> None:
    settings, other = new_office(tmp_path / "a"), new_office(tmp_path / "b")
    for office in (settings, other):
        ensure_registrar(office).close()
    settings.registrar_key.write_bytes(other.registrar_key.read_bytes())
    with pytest.raises(Misconfigured, match="Restore both from one copy"):
        ensure_registrar(settings)


def test_a_home_of_another_producer_is_refused(tmp_path: Path) -> None:
    ensure_registrar(new_office(tmp_path)).close()
    renamed = Settings.load(
        {"REKAM_HOME": str(tmp_path), "REKAM_KAFKA": NOBODY, "REKAM_REGISTRAR": "pusat"}
    )
    with pytest.raises(Misconfigured, match="REKAM_REGISTRAR"):
        ensure_registrar(renamed)


def test_what_is_stated_is_durable_before_it_is_sent(tmp_path: Path) -> None:
    settings = new_office(tmp_path)
    with ensure_registrar(settings) as home:
        state(home, [REVOKED, REVOKED])
    with ProducerHome.open(registrar_folder(settings)) as home:
        assert home.outbox.next_seq == 3

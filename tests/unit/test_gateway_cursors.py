"""The receipts that a server knows."""

import pytest

from producers.gateway.cursors import ReceiptCache
from producers.gateway.log import RECENT_MAX, RECENT_SECONDS_MAX, Recent
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import Receipt, ReceiptRejected, sign_receipt
from rekam.domain.segment import parse
from tests.support.gateway import TRUSTED, life, receipt_of, sealed


def test_keys_come_from_receipts_and_nobody_elses() -> None:
    cache = ReceiptCache(TRUSTED)
    one = life()
    assert dict(cache.keys_of(one.producer)) == {}
    cache.learn(receipt_of(one))
    assert dict(cache.keys_of(one.producer)) == {one.key.id: one.key.public}
    assert dict(cache.keys_of(life("recorder-2").producer)) == {}


def test_a_receipt_that_no_trusted_key_has_signed_changes_nothing() -> None:
    cache = ReceiptCache(TRUSTED)
    forged = sign_receipt(
        Receipt(1, "recorder-1", 1, (life().key.public.to_text(),)), SigningKey.generate()
    )
    for raw in (forged, b"", b"{}", b"\0" * 1_000):
        with pytest.raises(ReceiptRejected):
            cache.learn(raw)
    assert len(cache) == 0


def test_an_older_receipt_does_not_replace_a_newer_one() -> None:
    cache = ReceiptCache(TRUSTED)
    one = life()
    newer = receipt_of(one, sealed(one), as_of_ms=2_000)
    cache.learn(newer)
    assert cache.learn(receipt_of(one, as_of_ms=1_000)).raw == newer
    known = cache.of(one.producer)
    assert known is not None
    assert known.raw == newer


def test_only_the_segment_that_a_run_ends_with_is_known_to_be_in_the_log() -> None:
    cache = ReceiptCache(TRUSTED)
    one, twin = life(), life()
    raws = sealed(one, 3)
    cache.learn(receipt_of(one, raws))
    known = [cache.is_in_the_log(parse(raw).header, parse(raw).hash) for raw in raws]
    assert known == [False, False, True]
    (other,) = sealed(twin, events=9)
    assert parse(other).header.last == parse(raws[-1]).header.last
    assert not cache.is_in_the_log(parse(other).header, parse(other).hash)


def test_what_was_appended_is_known_for_a_while_and_then_forgotten() -> None:
    now = [0.0]
    recent = Recent(clock=lambda: now[0])
    recent.add("a")
    now[0] = RECENT_SECONDS_MAX
    assert "a" in recent
    now[0] += 1
    assert "a" not in recent
    assert "b" not in recent


def test_the_memory_of_what_was_appended_is_bounded() -> None:
    recent = Recent(clock=lambda: 0.0)
    for number in range(RECENT_MAX + 1):
        recent.add(str(number))
    assert "0" not in recent
    assert "1" in recent

"""Receipts: what is signed comes back, what is not signed by a trusted key does not."""

import base64
import json

import pytest

from rekam.domain.keys import SigningKey
from rekam.domain.receipt import (
    GAPS_MAX,
    KEYS_MAX,
    RECEIPT_BYTES_MAX,
    RUNS_MAX,
    TIME_MS_MAX,
    EpochReceipt,
    Receipt,
    ReceiptRejected,
    Run,
    open_receipt,
    sign_receipt,
    within_limits,
)
from rekam.domain.segment import SEQ_MAX
from rekam.domain.topics import RECORD_BYTES_MAX

KEY = SigningKey.from_seed(bytes([1]) * 32)
OTHER = SigningKey.from_seed(bytes([2]) * 32)
HEAD = "a" * 64
NIK = "6408014101900001"


def receipt(*epochs: EpochReceipt, keys: tuple[str, ...] = ()) -> Receipt:
    return Receipt(1, "recorder-1", 5, keys, epochs)


def test_a_signed_receipt_comes_back_as_it_was() -> None:
    said = receipt(EpochReceipt(1, (Run(1, 9, HEAD),), ((3, 4),)), keys=(KEY.public.to_text(),))
    assert open_receipt(sign_receipt(said, KEY), {KEY.id: KEY.public}) == said


def test_the_same_receipt_gives_the_same_bytes() -> None:
    assert sign_receipt(receipt(), KEY) == sign_receipt(receipt(), KEY)


def test_a_receipt_by_a_key_that_nobody_trusts_is_refused_with_the_remedy() -> None:
    with pytest.raises(ReceiptRejected, match=r"receipt.pub") as raised:
        open_receipt(sign_receipt(receipt(), OTHER), {KEY.id: KEY.public})
    assert raised.value.reason == "receipt_untrusted"


def test_nothing_is_believed_without_any_trusted_key() -> None:
    with pytest.raises(ReceiptRejected):
        open_receipt(sign_receipt(receipt(), KEY), {})


def test_no_error_shows_what_the_payload_says() -> None:
    payload = json.dumps({"v": 1, "producer": NIK, "as_of_ms": 0}).encode()
    envelope = json.loads(sign_receipt(receipt(), KEY))
    envelope["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(ReceiptRejected) as raised:
        open_receipt(json.dumps(envelope).encode(), {KEY.id: KEY.public})
    assert NIK not in str(raised.value)


def test_what_an_epoch_says_is_found_by_its_number() -> None:
    second = EpochReceipt(2, (Run(1, 2, HEAD),))
    said = receipt(EpochReceipt(1), second)
    assert said.of_epoch(2) == second
    assert said.of_epoch(3) is None


def test_the_largest_receipt_fits_its_limit_and_a_record() -> None:
    """As many of everything as there may be, and each as long as it can be."""
    number = SEQ_MAX
    epochs = tuple(
        EpochReceipt(2**31 - 1 - place, (Run(number, number, HEAD),), ((number, number),))
        for place in range(max(RUNS_MAX, GAPS_MAX))
    )
    largest = within_limits(
        Receipt(1, "p" * 64, TIME_MS_MAX, (KEY.public.to_text(),) * KEYS_MAX, epochs)
    )
    raw = sign_receipt(largest, KEY)
    assert len(raw) <= RECEIPT_BYTES_MAX < RECORD_BYTES_MAX
    assert open_receipt(raw, {KEY.id: KEY.public}) == largest


def test_of_too_many_runs_the_newest_epoch_keeps_its_own_and_each_its_oldest() -> None:
    def runs(count: int) -> tuple[Run, ...]:
        return tuple(Run(place, place, HEAD) for place in range(1, 2 * count, 2))

    kept = within_limits(
        receipt(EpochReceipt(1, runs(700), ((1, 1),)), EpochReceipt(2), EpochReceipt(3, runs(600)))
    )
    assert [epoch.epoch for epoch in kept.epochs] == [1, 3]
    first, third = kept.epochs
    assert third.runs == runs(600)
    assert first.runs == runs(700)[:400]
    assert first.gaps == ((1, 1),)


def test_of_too_many_keys_the_newest_are_kept() -> None:
    keys = tuple(f"{number:043d}=" for number in range(KEYS_MAX + 2))
    assert within_limits(receipt(keys=keys)).keys == keys[2:]

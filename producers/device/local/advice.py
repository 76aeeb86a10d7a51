"""What the operator should do now: pure functions of how the device stands.

Green: keep recording, nothing is asked of you. Yellow: do something when you can. Red: act now. To
be offline is the ordinary life of a village and green; nothing here ever asks to delete anything.
"""

from typing import Final, Literal

import msgspec

from producers.device.local.standing import DAY_MS, Standing

Severity = Literal["good", "watch", "act"]

SEVERITIES: Final[tuple[Severity, ...]] = ("act", "watch", "good")
"""The most urgent first."""

WAITING_WATCH_DAYS: Final = 2
"""From here on the operator should look for a connection or a stick."""

WAITING_ACT_DAYS: Final = 14
"""From here on someone has to fetch the data."""


class Advice(msgspec.Struct, frozen=True):
    """One thing to know or to do; plain text in both languages, without a value of any event."""

    severity: Severity
    indonesian: str
    english: str


def advice(standing: Standing) -> Advice:
    """Return what to do now, in one sentence: the most urgent of all that could be said."""
    return advices(standing)[0]


def advices(standing: Standing) -> list[Advice]:
    """Return all that could be said, the most urgent first; at least one."""
    found = [
        one
        for one in (
            _full(standing),
            _forked(standing),
            _refused(standing),
            _damaged(standing),
            _salvaged(standing),
            _waits_for_days(standing),
            _nearly_full(standing),
            _nothing_sends(standing),
            _dates_are_refused(standing),
            _clock_is_wrong(standing),
            _no_receipts(standing),
            _receipt_is_old(standing),
        )
        if one is not None
    ]
    # Stable: of equal severity, the order above decides.
    found.sort(key=lambda one: SEVERITIES.index(one.severity))
    return found or [_ordinary(standing)]


def status_json(standing: Standing) -> bytes:
    """Return a standing as JSON, with what to do now and everything else that could be said."""
    said = advices(standing)
    told = msgspec.to_builtins(standing) | {
        "is_clock_wrong": standing.is_clock_wrong,
        "severity": said[0].severity,
        "what_to_do": said[0].english,
        "yang_harus_dilakukan": said[0].indonesian,
        "advice": msgspec.to_builtins(said),
    }
    return msgspec.json.encode(told) + b"\n"


def _full(standing: Standing) -> Advice | None:
    if not standing.is_disk_full:
        return None
    return Advice(
        "act",
        "Penyimpanan penuh: rekaman baru ditolak. Jangan hapus apa pun; kirim antrean lewat "
        "jaringan atau USB sekarang, lalu hubungi teknisi.",
        "The storage is full and new recordings are refused. Delete nothing; send the queue by "
        "network or USB now, then call the technician.",
    )


def _forked(standing: Standing) -> Advice | None:
    if not standing.is_fork_suspected:
        return None
    return Advice(
        "act",
        "Salinan alat ini diduga dipakai di tempat lain. Teruskan merekam, jangan pulihkan "
        "cadangan, dan hubungi petugas kabupaten hari ini.",
        "A copy of this device seems to be in use elsewhere. Keep recording, restore no backup, "
        "and call the regency office today.",
    )


def _refused(standing: Standing) -> Advice | None:
    if not standing.refused_segments:
        return None
    count = standing.refused_segments
    return Advice(
        "act",
        f"{number(count)} paket data ditolak server. Datanya masih aman di alat ini dan ditawarkan "
        "lagi dengan sendirinya: jangan hapus apa pun, teruskan merekam, dan hubungi petugas "
        "kabupaten. Bila server sudah diperbaiki: `rekam device retry-refused`.",
        f"The server refused {count:,} packets of data. They are still safe on this device and are "
        "offered again by themselves: delete nothing, keep recording, and call the regency office. "
        "Once the server is set right: `rekam device retry-refused`.",
    )


def _damaged(standing: Standing) -> Advice | None:
    if not standing.damaged_now_events:
        return None
    count = standing.damaged_now_events
    return Advice(
        "act",
        f"Penyimpanan alat merusak {number(count)} data yang belum terbukti sampai. Data lain "
        "tetap dikirim. Jangan hapus apa pun, teruskan merekam, dan minta teknisi memeriksa disk "
        "atau kartu SD hari ini; setelah itu ia menjalankan `rekam device new-epoch`.",
        f"The disk has damaged {count:,} events that are not proven to have arrived. The others go "
        "on their way. Delete nothing, keep recording, and have the technician check the disk or "
        "SD card today, who then runs `rekam device new-epoch`.",
    )


def _salvaged(standing: Standing) -> Advice | None:
    if not standing.salvages:
        return None
    taken = sum(one.segment_events + one.lines for one in standing.salvages)
    broken = sum(one.broken_rows for one in standing.salvages)
    return Advice(
        "act" if broken else "watch",
        f"Antrean pernah rusak dan sudah diperbaiki: {number(taken)} data diselamatkan, "
        f"{number(broken)} bagian tidak terbaca. Jangan hapus apa pun, teruskan merekam; minta "
        "teknisi memeriksa disk atau kartu SD dan mengambil berkas outbox.db.corrupt-….",
        f"The queue was damaged and has been mended: {taken:,} events were saved, {broken:,} parts "
        "could not be read. Delete nothing, keep recording; have the technician check the disk or "
        "SD card and take the files outbox.db.corrupt-… away.",
    )


def _waits_for_days(standing: Standing) -> Advice | None:
    waiting_ms = standing.waiting_ms
    days = 0 if waiting_ms is None else waiting_ms // DAY_MS
    if not standing.queue_events or days < WAITING_WATCH_DAYS:
        return None
    return Advice(
        "act" if days >= WAITING_ACT_DAYS else "watch",
        f"Data sudah {number(days)} hari belum terkirim. Teruskan merekam; cari sambungan "
        "internet, atau ekspor ke USB dan bawa ke kantor kecamatan.",
        f"Data has waited for {days:,} days. Keep recording; find a connection, or export "
        "to USB and take it to the kecamatan office.",
    )


def _nearly_full(standing: Standing) -> Advice | None:
    if not standing.is_disk_nearly_full or standing.is_disk_full:
        return None
    percent = standing.disk_percent
    return Advice(
        "watch",
        f"Penyimpanan terisi {percent} %. Teruskan merekam; kirim antrean lewat jaringan atau "
        "USB sebelum penuh, dan beri tahu teknisi.",
        f"The storage is {percent} % full. Keep recording; send the queue by network or USB "
        "before it is full, and tell the technician.",
    )


def _nothing_sends(standing: Standing) -> Advice | None:
    if standing.emitter_pid is not None or not standing.queue_events:
        return None
    return Advice(
        "watch",
        "Program pengirim tidak berjalan. Data tetap aman di alat ini; jalankan `rekam device "
        "run`, atau `rekam device sync` bila ada sambungan.",
        "Nothing is sending. The data is safe on this device; start `rekam device run`, or "
        "`rekam device sync` when there is a connection.",
    )


def _dates_are_refused(standing: Standing) -> Advice | None:
    if not standing.are_dates_refused:
        return None
    return Advice(
        "watch",
        "Jam alat ini atau sertifikat server salah, sehingga server tidak bisa dihubungi. Teruskan "
        "merekam, tidak ada data yang hilang; betulkan tanggal dan jam alat ini. Bila sudah benar, "
        "hubungi petugas kabupaten.",
        "This device's clock or the server's certificate is wrong, so the server cannot be "
        "reached. Keep recording, nothing is lost; set date and time of this device. If they are "
        "right, call the regency office.",
    )


def _clock_is_wrong(standing: Standing) -> Advice | None:
    if not standing.is_clock_wrong:
        return None
    return Advice(
        "watch",
        "Jam alat ini salah. Teruskan merekam, tidak ada data yang hilang; betulkan tanggal dan "
        "jam bila sempat.",
        "The clock of this device is wrong. Keep recording, nothing is lost; set date and time "
        "when you can.",
    )


def _no_receipts(standing: Standing) -> Advice | None:
    if standing.receipt_keys:
        return None
    return Advice(
        "watch",
        "Alat ini belum mengenal kunci tanda terima, sehingga data lama tidak bisa dirapikan. "
        "Teruskan merekam; minta teknisi memasang berkas receipts.pub.",
        "This device trusts no receipt key yet, so old data cannot be tidied away. Keep "
        "recording; ask the technician to install the file receipts.pub.",
    )


def _receipt_is_old(standing: Standing) -> Advice | None:
    if not standing.overdue_events:
        return None
    count = standing.overdue_events
    return Advice(
        "watch",
        f"{number(count)} data sudah dikirim lebih dari sehari tetapi belum ada tanda terima. "
        "Teruskan merekam; beri tahu petugas kabupaten.",
        f"{count:,} events were sent more than a day ago and no receipt has come. Keep recording; "
        "tell the regency office.",
    )


def _ordinary(standing: Standing) -> Advice:
    if not standing.queue_events:
        return Advice(
            "good",
            "Semua data sudah terkirim. Teruskan merekam.",
            "All data has been sent. Keep recording.",
        )
    count = standing.queue_events
    if standing.is_route_working is False:
        return Advice(
            "good",
            f"Belum ada sambungan. {number(count)} data tersimpan aman di alat ini dan terkirim "
            "sendiri bila sambungan kembali. Teruskan merekam.",
            f"There is no connection. {count:,} events are safe on this device and go by "
            "themselves when it is back. Keep recording.",
        )
    return Advice(
        "good",
        f"{number(count)} data sedang dikirim. Teruskan merekam; alat boleh tetap menyala.",
        f"{count:,} events are being sent. Keep recording; the device may stay on.",
    )


def number(value: int) -> str:
    """Return a number as Indonesians write it: 1.234.567."""
    return f"{value:,}".replace(",", ".")

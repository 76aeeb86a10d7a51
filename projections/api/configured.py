"""What the read API takes from the settings: keys, callers, calendar."""

import time
from collections.abc import Mapping

from projections.api.access_port import AccessRecorder
from projections.api.office import Office
from projections.rules import Rules
from rekam.domain.clocks import OfficeZone
from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.kafka import offsets_before
from rekam.runtime.keyring import (
    load_api_callers,
    load_nik_key,
    load_person_key,
    load_snapshot_key,
)
from rekam.runtime.metrics import Metrics
from rekam.runtime.settings import Settings


def office_of(settings: Settings, *, accesses: AccessRecorder) -> Office:
    """Return what all calls share. Raises Misconfigured when a key file cannot serve."""
    return Office(
        rules=Rules(
            zone=OfficeZone(settings.time_zone),
            registrar=settings.registrar,
            person_key=load_person_key(settings),
            nik_key=load_nik_key(settings),
        ),
        callers=load_api_callers(settings),
        accesses=accesses,
        snapshot_key=load_snapshot_key(settings),
        topic=SEGMENTS.name,
        log_below=lambda moment_ms: _log_below(settings, moment_ms),
        now_ms=lambda: time.time_ns() // 1_000_000,
        metrics=Metrics(),
    )


async def _log_below(settings: Settings, moment_ms: int) -> Mapping[int, int]:
    return await offsets_before(
        kafka_bootstrap(settings), SEGMENTS.name, moment_ms, security=settings.kafka_security
    )

"""How devices stand, for tests of what is then said."""

from producers.device.local.standing import RouteStanding, Standing

NOW_MS = 1_522_468_800_000
"""31 March 2018, 12.00 in Makassar."""

HOUR_MS = 3_600_000

WELL = Standing(
    producer="rec-1",
    kind="recorder",
    epoch=1,
    next_seq=1_235,
    recorded_events=1_234,
    committed_events=1_222,
    queue_events=0,
    unsent_segments=0,
    oldest_unsent_ms=None,
    taken_events=12,
    taken_through=1_234,
    receipted_through=1_222,
    committed=[(1, 1_222)],
    refused_segments=0,
    damaged_segments=0,
    damaged_events=0,
    damaged_now_events=0,
    last_receipt_ms=NOW_MS - 10 * 60_000,
    overdue_events=0,
    receipt_keys=1,
    is_fork_suspected=False,
    disk_bytes=10_000_000,
    disk_free_bytes=34_000_000_000,
    disk_percent=3,
    is_disk_nearly_full=False,
    is_disk_full=False,
    emitter_pid=1,
    wall_ms=NOW_MS,
    clock_offset_ms=1_200,
    routes=(RouteStanding(label="kafka", is_working=True),),
)
"""Nothing waits and nothing is wrong."""

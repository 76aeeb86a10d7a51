"""Every metric that Rekam shows: name, type, unit, meaning, and what to do about it.

A name is written here and nowhere else; counting under another one does not type-check. Labels
hold ids of our own (a route's path, a reason code), never a value that a caller sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CounterName = Literal[
    "rekam_api_answers_total",
    "rekam_api_database_failures_total",
    "rekam_gateway_answers_total",
    "rekam_gateway_segments_total",
]
HistogramName = Literal["rekam_api_answer_seconds", "rekam_gateway_answer_seconds"]
GaugeName = Literal[
    "rekam_database_up",
    "rekam_position_next_offset",
    "rekam_held_entries",
    "rekam_quarantined_entries",
    "rekam_gateway_in_flight_bytes",
    "rekam_gateway_receipts",
]
MetricName = CounterName | HistogramName | GaugeName

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

ANSWER_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric means, and what its reader does when it is not as it should be."""

    meaning: str
    remedy: str
    labels: tuple[str, ...] = ()


CATALOGUE: Final[Mapping[MetricName, Metric]] = {
    "rekam_api_answers_total": Metric(
        "Answers of the read API by route, method and HTTP status.",
        "Many 4xx: read the problem's code with the caller. Any 500: a bug, its log line names it.",
        ("route", "method", "status"),
    ),
    "rekam_api_answer_seconds": Metric(
        "Time to answer by route, in seconds.",
        "Slow and the database is idle: ask for smaller regions or pages. Slow and it is busy: "
        "look for another program in it; the processor's fold needs little.",
        ("route",),
    ),
    "rekam_api_database_failures_total": Metric(
        "Answers that the database did not give in time or at all.",
        "Start PostgreSQL, or correct REKAM_POSTGRES; callers try again by themselves.",
    ),
    "rekam_database_up": Metric(
        "1 when the database answered this scrape; the three figures below are of then.",
        "0: start PostgreSQL, or correct REKAM_POSTGRES.",
    ),
    "rekam_position_next_offset": Metric(
        "Next offset that the projections will fold, by partition of the log.",
        "Standing still while the log grows: the processor is down or refuses; read its log.",
        ("partition",),
    ),
    "rekam_held_entries": Metric(
        "Records and events that wait for something, by reason code.",
        "GET /v1/held says for what: mostly an enrolment that is still to come.",
        ("reason",),
    ),
    "rekam_quarantined_entries": Metric(
        "Records and events that were refused for ever, by reason code.",
        "GET /v1/quarantine names producer and range: ask who runs that device.",
        ("reason",),
    ),
    "rekam_gateway_answers_total": Metric(
        "Answers of a gateway or relay by route and HTTP status; `gone`: the caller went away.",
        "Many 429: a caller runs wild, or all come through one proxy. Many 503: look at Kafka, or "
        "at a relay's disk. Any 500: a bug, its log line names it.",
        ("route", "status"),
    ),
    "rekam_gateway_answer_seconds": Metric(
        "Time to answer by route, in seconds; for segments with the slow link of the caller.",
        "Slow for all callers: look at the brokers' disks; segments wait for all replicas.",
        ("route",),
    ),
    "rekam_gateway_segments_total": Metric(
        "Segments by what was answered of them.",
        "Many held: an enrolment is missing. Many quarantined: the log line has the code.",
        ("verdict",),
    ),
    "rekam_gateway_in_flight_bytes": Metric(
        "Bytes of requests that are held in memory now.",
        "Near the limit (64 MiB) callers get 503: see why Kafka is slow, or start another gateway.",
    ),
    "rekam_gateway_receipts": Metric(
        "Producers whose receipt is known here.",
        "Fewer than producers are enrolled: the processor signs them; see that it runs.",
    ),
}


class Metrics:
    """The metrics of one process, in a registry of its own. Safe from several threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[CounterName, Counter] = {}
        self._histograms: dict[HistogramName, Histogram] = {}
        self._gauges: dict[GaugeName, Gauge] = {}

    def count(self, name: CounterName, **labels: str) -> None:
        """Add one."""
        if name not in self._counters:
            metric = CATALOGUE[name]
            self._counters[name] = Counter(
                name, metric.meaning, metric.labels, registry=self._registry
            )
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc()

    def observe(self, name: HistogramName, value: float, **labels: str) -> None:
        """Add an observation in the metric's unit."""
        if name not in self._histograms:
            metric = CATALOGUE[name]
            self._histograms[name] = Histogram(
                name,
                metric.meaning,
                metric.labels,
                buckets=ANSWER_SECONDS,
                registry=self._registry,
            )
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(value)

    def show(self, name: GaugeName, values: Mapping[str, int]) -> None:
        """Replace a gauge: its values by its one label, or `{"": value}` for one without labels."""
        if name not in self._gauges:
            metric = CATALOGUE[name]
            self._gauges[name] = Gauge(name, metric.meaning, metric.labels, registry=self._registry)
        gauge = self._gauges[name]
        if not CATALOGUE[name].labels:
            gauge.set(values[""])
            return
        gauge.clear()
        for label, value in values.items():
            gauge.labels(label).set(value)

    def text(self) -> bytes:
        """Return all that was counted, in Prometheus's text format."""
        return generate_latest(self._registry)

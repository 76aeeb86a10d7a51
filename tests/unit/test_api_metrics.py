"""Metrics: one catalogue, each with its remedy, in Prometheus's text format."""

from typing import get_args

import pytest

from rekam.runtime.metrics import (
    CATALOGUE,
    CounterName,
    GaugeName,
    HistogramName,
    Metrics,
)


def test_every_metric_has_a_meaning_and_a_remedy() -> None:
    assert set(CATALOGUE) == {
        *get_args(CounterName),
        *get_args(HistogramName),
        *get_args(GaugeName),
    }
    assert all(metric.meaning and metric.remedy for metric in CATALOGUE.values())


@pytest.mark.parametrize("name", get_args(CounterName))
def test_a_counter_is_named_as_prometheus_shows_it(name: str) -> None:
    assert name.endswith("_total")


def test_what_was_counted_is_in_the_text() -> None:
    metrics = Metrics()
    metrics.count("rekam_api_answers_total", route="/", method="GET", status="200")
    metrics.observe("rekam_api_answer_seconds", 0.02, route="/")
    text = metrics.text().decode()
    assert 'rekam_api_answers_total{method="GET",route="/",status="200"} 1.0' in text
    assert 'rekam_api_answer_seconds_bucket{le="0.025",route="/"} 1.0' in text


def test_a_gauge_forgets_labels_that_are_gone() -> None:
    metrics = Metrics()
    metrics.show("rekam_held_entries", {"unknown_producer": 2})
    metrics.show("rekam_held_entries", {"unknown_reader": 1})
    text = metrics.text().decode()
    assert "unknown_producer" not in text
    assert 'rekam_held_entries{reason="unknown_reader"} 1.0' in text


def test_processes_do_not_share_counts() -> None:
    Metrics().count("rekam_api_database_failures_total")
    assert "rekam_api_database_failures_total 1.0" not in Metrics().text().decode()

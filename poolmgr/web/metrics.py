"""The page for Prometheus: what was told of this daemon, and what is so for all of them, in one text.

The names are those of `observe.names`: the parts of a statsd name between its dots are labels here. A timer is a
summary of its count and its seconds. What is so for the whole system comes from the snapshot at the time of the
question, and is the same whichever daemon is asked; it is not to be added up over daemons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family

from poolmgr.model.snapshot import Snapshot
from poolmgr.observe import names
from poolmgr.observe.board import Board, Total, Totals
from poolmgr.observe.census import fleet_facts, take_census
from poolmgr.observe.names import Metric
from poolmgr.observe.stats import Recorder


def page(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """The text, and its content type; `accept`: the client's header."""
    encode, content_type = choose_encoder(accept)
    return encode(_Collected(tuple(families))), content_type


def own_families(totals: Totals, *, connected: bool) -> Iterator[Family]:
    """What was told of this daemon, and what its process uses."""
    yield from _families(totals)
    yield from _families({names.STORE_CONNECTED: {(): Total(1, int(connected))}})
    yield from ProcessCollector(registry=None).collect()


def whole_families(snapshot: Snapshot, now: float) -> Iterator[Family]:
    """What is so for all daemons together."""
    board = Board(whole=True)
    recorder = Recorder([board])
    recorder.census(take_census(snapshot.nodes(), snapshot.requests(), snapshot.pools()))
    recorder.fleet(fleet_facts(snapshot, now))
    yield from _families(board.totals())


def _families(totals: Totals) -> Iterator[Family]:
    for metric in sorted(totals, key=lambda one: one.prometheus):
        yield _family(metric, totals[metric])


def _family(metric: Metric, series: Mapping[tuple[str, ...], Total]) -> Family:
    about = (metric.prometheus, metric.meaning)
    labels = metric.parts
    if metric.is_timer:
        summary = SummaryMetricFamily(*about, labels=labels)
        for values, total in series.items():
            summary.add_metric(values, count_value=total.times, sum_value=total.sum)
        return summary
    family: GaugeMetricFamily | CounterMetricFamily
    family = (GaugeMetricFamily if metric.is_gauge else CounterMetricFamily)(*about, labels=labels)
    for values, total in series.items():
        family.add_metric(values, total.sum)
    return family


class _Collected:
    """What an encoder takes for a registry."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Sequence[Family]:
        return self._families

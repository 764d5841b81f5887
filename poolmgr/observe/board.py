"""What has been told, kept for whoever asks: the last value of each gauge, the sums of counters and timers.

Series of gauges that are gone are gone here too; counts go on from the start of the process.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from poolmgr.observe.names import Metric
from poolmgr.observe.sample import Sample


class Total(NamedTuple):
    """How often it was told and the sum of it, in seconds for a timer; of a gauge what was told last."""

    times: int
    sum: float


#: By metric, by the values of its parts.
Totals = Mapping[Metric, Mapping[tuple[str, ...], Total]]


class Board:
    """A `sample.Sink`. `whole`: also what is so for all daemons; else that is left to who asks for it."""

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._lock = threading.Lock()
        self._totals: dict[Metric, dict[tuple[str, ...], Total]] = {}
        self._groups: dict[str, frozenset[tuple[Metric, tuple[str, ...]]]] = {}

    def take(self, samples: Sequence[Sample]) -> None:
        with self._lock:
            for sample in samples:
                self._add(sample)

    def take_group(self, group: str, samples: Sequence[Sample]) -> None:
        present = frozenset((metric, values) for metric, values, _ in samples)
        with self._lock:
            for metric, values in self._groups.get(group, frozenset()) - present:
                self._totals.get(metric, {}).pop(values, None)
            self._groups[group] = present
            for sample in samples:
                self._add(sample)

    def close(self) -> None:
        """Nothing to do: what was told can still be read."""

    def totals(self) -> Totals:
        """A copy of all there is."""
        with self._lock:
            return {metric: dict(series) for metric, series in self._totals.items()}

    def _add(self, sample: Sample) -> None:
        metric, values, value = sample
        if metric.whole and not self._whole:
            return
        series = self._totals.setdefault(metric, {})
        before = series.get(values)
        if before is None or metric.is_gauge:
            series[values] = Total(1, value)
        else:
            series[values] = Total(before.times + 1, before.sum + value)

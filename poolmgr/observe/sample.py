"""One number of one metric, and who takes such."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from poolmgr.observe.names import Metric


class Sample(NamedTuple):
    """`values` fill the metric's `parts`, in order. `value` is in seconds where the metric is a timer."""

    metric: Metric
    values: tuple[str, ...]
    value: float


class Sink(Protocol):
    """Takes samples from any thread; never raises and never waits."""

    def take(self, samples: Sequence[Sample]) -> None: ...

    def take_group(self, group: str, samples: Sequence[Sample]) -> None:
        """All gauges of `group` there are: what was among them last time and is not now is gone."""

    def close(self) -> None: ...

"""What the parts of one static provider's worker share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from poolmgr.config.settings import StaticProvider
from poolmgr.launcher.context import ProviderConfig, ProviderContext, ProviderParts
from poolmgr.launcher.jobs import Jobs
from poolmgr.launcher.tenure import Tenure
from poolmgr.policy.tuning import Tuning


@dataclass(frozen=True, kw_only=True)
class StaticConfig(ProviderConfig):
    provider: StaticProvider


@dataclass(frozen=True, kw_only=True)
class StaticParts(ProviderParts):
    """`resolve` gives the address of a name, None if it has none; like `prober` it blocks, and runs on `probes`."""

    resolve: Callable[[str], str | None]


class StaticContext(ProviderContext):
    parts: StaticParts
    config: StaticConfig

    def __init__(
        self, parts: StaticParts, config: StaticConfig, tuning: Tuning, jobs: Jobs, tenure: Tenure
    ) -> None:
        super().__init__(parts, config, tuning, jobs, tenure)

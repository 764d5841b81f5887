"""Connections to real clouds: how a provider of the configuration gets its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolmgr.cloud.api import ImageCloud
from poolmgr.config.clouds import Clouds
from poolmgr.config.settings import CloudSettings, OpenStackProvider, Settings
from poolmgr.errors import ConfigError
from poolmgr.observe.api_name import ApiCall, api_prefix
from poolmgr.observe.stats import Stats
from poolmgr.runtime.clock import Clock, SystemClock
from poolmgr.wiring.configuration import load_the_clouds

if TYPE_CHECKING:
    from poolmgr.cloud.openstack import OpenStackCloud


def cloud_settings(provider: OpenStackProvider, clouds: Clouds) -> CloudSettings:
    """What clouds.yaml says of the provider's cloud and region. Raises ConfigError."""
    if not provider.cloud:
        raise ConfigError(f"provider {provider.name} names no cloud (key `cloud`) of clouds.yaml")
    return clouds.get(provider.cloud, provider.region_name)


@dataclass(frozen=True, kw_only=True)
class Connections:
    """What all connections of one process share."""

    clock: Clock
    environ: Mapping[str, str]
    deployment: str = ""
    stats: Stats | None = None  # None: calls are not counted

    def open(
        self,
        name: str,
        settings: CloudSettings,
        *,
        region: str | None,
        rate: float,
        pool_size: int,
    ) -> OpenStackCloud:
        """A cloud for the provider `name`, nothing sent yet. `rate`: seconds between API calls, for all of it."""
        from poolmgr.cloud.openstack import (
            OpenStackCloud,
        )  # a second to load: not for commands that only read

        return OpenStackCloud(
            name,
            settings,
            region=region,
            rate=rate,
            clock=self.clock,
            deployment=self.deployment,
            on_call=self._counting(name, settings),
            pool_size=pool_size,
        )

    def _counting(self, name: str, settings: CloudSettings) -> Callable[[ApiCall], None] | None:
        stats = self.stats
        if stats is None:
            return None
        prefix = api_prefix(settings.statsd_prefix, self.environ, provider=name)

        def on_call(call: ApiCall) -> None:
            stats.api_call(prefix, call)

        return on_call


def open_image_clouds(
    settings: Settings, environ: Mapping[str, str], *, deployment: str = ""
) -> dict[str, ImageCloud | ConfigError]:
    """By openstack provider its cloud, or why it has none; for commands. Nothing is sent before the first question.

    `deployment`: `Store.deployment()`, for whoever deletes staged objects. Raises ConfigError when clouds.yaml as a
    whole cannot be read.
    """
    clock = SystemClock()
    clouds = load_the_clouds(settings, environ, clock)
    connections = Connections(clock=clock, environ=environ, deployment=deployment)
    found: dict[str, ImageCloud | ConfigError] = {}
    for provider in settings.providers.values():
        if not isinstance(provider, OpenStackProvider):
            continue
        try:
            found[provider.name] = connections.open(
                provider.name,
                cloud_settings(provider, clouds),
                region=provider.region_name,
                rate=provider.rate,
                pool_size=2,
            )
        except ConfigError as error:
            found[provider.name] = error
    return found

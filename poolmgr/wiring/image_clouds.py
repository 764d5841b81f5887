"""How a builder's providers get their clouds: one connection for each, with its executors."""

from __future__ import annotations

from collections.abc import Callable

from poolmgr.builder.context import ImageProvider
from poolmgr.builder.providers import Connection
from poolmgr.config.clouds import Clouds
from poolmgr.config.settings import CloudSettings, OpenStackProvider
from poolmgr.runtime.executor import ThreadExecutor
from poolmgr.wiring.clouds import Connections, cloud_settings
from poolmgr.wiring.identity import new_id

#: Threads of a provider for deleting, listing and trying out.
DELETION_THREADS = 2
#: Seconds between API calls to a cloud that only old records name.
STRAY_RATE = 1.0


class ImageClouds:
    """Opens connections. `clouds` gives what clouds.yaml says now."""

    def __init__(self, connections: Connections, clouds: Callable[[], Clouds]) -> None:
        self._connections = connections
        self._clouds = clouds

    def opener(self, provider: OpenStackProvider) -> tuple[object, Callable[[], Connection]]:
        """See `builder.providers.Opener`."""
        settings = cloud_settings(provider, self._clouds())
        identity = (settings, provider.region_name, provider.rate, provider.max_parallel_uploads)

        def open_it() -> Connection:
            return self._open(
                provider.name,
                settings,
                cloud=provider.cloud or "",
                region=provider.region_name,
                rate=provider.rate,
                uploads=provider.max_parallel_uploads,
                identity=identity,
            )

        return identity, open_it

    def stray(self, cloud: str, region: str | None) -> Connection:
        """See `builder.providers.StrayOpener`."""
        settings = self._clouds().get(cloud, region)
        where = f"{cloud}/{region}" if region else cloud
        return self._open(
            where, settings, cloud=cloud, region=region, rate=STRAY_RATE, uploads=1, identity=settings
        )

    def _open(
        self,
        name: str,
        settings: CloudSettings,
        *,
        cloud: str,
        region: str | None,
        rate: float,
        uploads: int,
        identity: object,
    ) -> Connection:
        from poolmgr.cloud.canary.canary import OpenStackCanary  # loads paramiko

        connected = self._connections.open(
            name, settings, region=region, rate=rate, pool_size=uploads + DELETION_THREADS + 2
        )
        canary = OpenStackCanary(connected, self._connections.clock, new_id=new_id)
        provider = ImageProvider(
            name=name,
            cloud=cloud,
            region=region,
            image_format=settings.image_format,
            images=connected,
            canary=canary,
            uploads=ThreadExecutor(f"upload-{name}", uploads),
            deletions=ThreadExecutor(f"images-{name}", DELETION_THREADS),
        )

        def close() -> None:
            canary.close()
            connected.close()

        return Connection(provider=provider, identity=identity, close=close)

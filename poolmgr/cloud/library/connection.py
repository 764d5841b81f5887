"""`connect`, and what a program can do with a cloud then."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from poolmgr.cloud.api import CloudInfo
from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.config.clouds import choose
from poolmgr.config.settings import CloudSettings
from poolmgr.model.resources import Resources
from poolmgr.model.server import LIBRARY, Flavor, Quota
from poolmgr.observe.stats import ApiCall
from poolmgr.runtime.clock import Clock, SystemClock


def connect(
    name: str | None = None,
    region: str | None = None,
    *,
    env: bool | None = None,
    overrides: Mapping[str, Any] | None = None,
    paths: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    rate: float = 0.0,
    on_call: Callable[[ApiCall], None] | None = None,
    clock: Clock | None = None,
) -> Connection:
    """A connection to one cloud of clouds.yaml. Nothing is sent before its first method is called.

    `name` None: OS_CLOUD, else the cloud that the OS_* variables describe, else the only one in the file. `region`
    None: the cloud's default. `env` True makes the cloud of the OS_* variables known also when a name is given,
    False leaves these variables unread. `overrides` are keys of a cloud as in clouds.yaml and win over all files.
    `paths`: the files that may be clouds.yaml, None for the usual places. `rate`: least seconds between API calls.
    `on_call` is told of every HTTP exchange, on the thread that made it.
    Raises ConfigError with a line for each finding.
    """
    settings = choose(
        name,
        region=region,
        env=name is None if env is None else env,
        overrides=overrides,
        environ=environ,
        paths=paths,
    )
    return Connection(settings, rate=rate, on_call=on_call, clock=clock or SystemClock())


class Connection:
    """One cloud, one region, one project. All methods may be called from any thread.

    Every method may raise CloudUnavailable (no answer, for as long as we were patient) and AuthFailed, and the first
    one called ConfigError and NotSupported for a cloud that cannot be used as it is configured. All other errors
    are named with the method; all of them are PoolmgrError.
    """

    def __init__(
        self,
        settings: CloudSettings,
        *,
        clock: Clock,
        rate: float = 0.0,
        on_call: Callable[[ApiCall], None] | None = None,
        **options: Any,
    ) -> None:
        """`options` go to OpenStackCloud."""
        self.name = settings.name
        self.region = settings.region_name
        self._clock = clock
        self._new_id: Callable[[], str] = lambda: uuid.uuid4().hex
        self._cloud = OpenStackCloud(
            settings.name,
            settings,
            region=settings.region_name,
            rate=rate,
            clock=clock,
            deployment=LIBRARY,
            on_call=on_call,
            **options,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Never raises; servers live on."""
        self._cloud.close()

    @property
    def calls(self) -> Mapping[str, int]:
        """API calls sent so far by `<service>.<METHOD>.<name>`, tokens and version documents included."""
        return self._cloud.calls

    def info(self) -> CloudInfo:
        """What is known of the cloud after logging in; asked once."""
        return self._cloud.connect()

    def flavors(self) -> tuple[Flavor, ...]:
        """All flavors, by name; cached 5 minutes."""
        return self._cloud.flavors()

    def zones(self) -> tuple[str, ...]:
        """The availability zones that take servers, sorted; () where the cloud has none. Cached 5 minutes."""
        return self._cloud.zones()

    def limits(self) -> Resources:
        """The project's limits: instances, cores, ram (MiB); unlimited and unknown ones are absent."""
        return self._cloud.limits()

    def quotas(self) -> tuple[Quota, ...]:
        """Every limit that the cloud tells, with its use."""
        return self._cloud.quotas()

"""Deleting one node from here and now, in whatever cloud it is."""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections.abc import Callable, Mapping

from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.errors import LockLost, Refused
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.context import Config, Context, Parts
from poolmgr.launcher.deletion import Deletion
from poolmgr.launcher.jobs import Jobs
from poolmgr.launcher.tenure import Tenure
from poolmgr.model.node import Node
from poolmgr.observe.ledger import Ledger
from poolmgr.observe.stats import NullStats
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import ThreadExecutor
from poolmgr.store.api import Lock, Store
from poolmgr.wiring.clouds import Connections, cloud_settings
from poolmgr.wiring.configuration import load_the_clouds
from poolmgr.wiring.identity import new_id

log = logging.getLogger(__name__)

#: Threads for calls: a node is at most a server, and what hung on it.
_THREADS = 4
#: Seconds between looks at whether it takes too long, or the lock is gone.
_LOOK = 1.0


def provider_of(settings: Settings, node: Node) -> OpenStackProvider:
    """Where the node's server is. Raises Refused when that is no cloud of this configuration."""
    provider = settings.providers.get(node.provider or "")
    if provider is None:
        raise Refused(
            f"provider {node.provider} of node {node.id} is not in this configuration",
            remedy="without --now a launcher that has it deletes the node",
        )
    if not isinstance(provider, OpenStackProvider):
        raise Refused(
            f"provider {node.provider} has no cloud in which something could be deleted",
            remedy="without --now its launcher deals with the node",
        )
    return provider


class NodeDeleter:
    """Deletes nodes of one provider. Raises ConfigError when clouds.yaml does not know its cloud."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        provider: OpenStackProvider,
        environ: Mapping[str, str],
        clock: Clock,
    ) -> None:
        clouds = load_the_clouds(settings, environ, clock)
        connections = Connections(clock=clock, environ=environ, deployment=store.deployment())
        self._store = store
        self._settings = settings
        self._provider = provider
        self._clock = clock
        self._cloud = connections.open(
            provider.name,
            cloud_settings(provider, clouds),
            region=provider.region_name,
            rate=provider.rate,
            pool_size=_THREADS,
        )

    def delete(self, node: Node, lock: Lock, *, timeout: float, tell: Callable[[str], None]) -> bool:
        """Whether the node and all of it is gone within `timeout` seconds. `node` is DELETING, `lock` its lock.

        `tell` gets a line when something takes its time. Raises LockLost, StoreUnavailable.
        """
        wake = threading.Event()
        executor = ThreadExecutor("delete", _THREADS)
        # Nobody else touches the node while its lock is ours, whoever owns the provider.
        tenure = Tenure(self._provider.name, lock, owner="", hostname="", since=0.0)
        context = self._context(executor, Jobs(wake.set), tenure)
        deletion = Deletion(context, node, lock)
        deadline, told = self._clock.monotonic() + timeout, ""
        try:
            while not deletion.gone:
                wake.clear()
                pause = deletion.step()
                trouble = str(deletion.trouble or "")
                if trouble and trouble != told:
                    tell(f"the cloud does not answer yet: {trouble}")
                    told = trouble
                if self._clock.monotonic() >= deadline:
                    return False
                if not deletion.gone:
                    self._clock.wait(wake, min(pause, _LOOK))
            return True
        finally:
            executor.stop()

    def close(self) -> None:
        self._cloud.close()

    def _context(self, executor: ThreadExecutor, jobs: Jobs, tenure: Tenure) -> Context:
        from poolmgr.cloud.probe import SshProber  # loads paramiko

        hostname = socket.gethostname()
        parts = Parts(
            store=self._store,
            cloud=self._cloud,
            prober=SshProber(self._clock),
            clock=self._clock,
            stats=NullStats(),
            api=executor,
            probes=executor,
            rng=random.Random(),
            new_id=new_id,
            deployment=self._store.deployment(),
            hostname=hostname,
            fqdn=hostname,
            claims=Claims(),
            ledger=Ledger(self._clock, self._settings.ledger),
        )
        config = Config(provider=self._provider, labels=self._settings.labels)
        return Context(parts, config, Tuning(), jobs, tenure)


def delete_now(
    store: Store,
    settings: Settings,
    node: Node,
    lock: Lock,
    *,
    environ: Mapping[str, str],
    clock: Clock,
    timeout: float,
    tell: Callable[[str], None],
) -> bool:
    """Delete `node`, which is DELETING and whose `lock` we hold; whether it and all of it is gone within `timeout`.

    When it returns, the lock is released. Raises Refused, ConfigError, StoreUnavailable.
    """
    try:
        deleter = NodeDeleter(store, settings, provider_of(settings, node), environ, clock)
        try:
            return deleter.delete(node, lock, timeout=timeout, tell=tell)
        except LockLost as error:
            raise Refused(f"node {node.id} was taken from us: {error}") from error
        finally:
            deleter.close()
    finally:
        if lock.valid:
            store.unlock(lock)

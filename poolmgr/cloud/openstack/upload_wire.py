"""Connections for long bodies, beside those for calls: an upload of an hour never takes a connection from the poller.

There is no limit to how long a body takes, only to how long nothing moves. urllib3 sends a body under the timeout for
connecting; here the one for waiting is in force as soon as there is a connection.
"""

from __future__ import annotations

from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.poolmanager import PoolManager

from poolmgr.cloud.openstack.gate import Gate
from poolmgr.cloud.openstack.upload_body import Body


class _PatientConnection(HTTPConnection):
    _patience: float | None = None  # seconds; None: no body of ours is on its way

    def request(self, method: str, url: str, body: Any = None, *rest: Any, **more: Any) -> None:
        if isinstance(body, Body):
            body.goes_over(self)
            self._patience = body.patience
        super().request(method, url, body, *rest, **more)

    def send(self, data: Any) -> None:
        if self.sock is not None and self._patience is not None:
            self.sock.settimeout(self._patience)
        super().send(data)


class _PatientTlsConnection(_PatientConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _PatientConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _PatientTlsConnection


class UploadGate(Gate):
    """The gate for bodies: same pace and counters as the other's, connections of its own."""

    @classmethod
    def beside(cls, gate: Gate, *, pool_size: int) -> UploadGate:
        """Of the same provider. A body of an hour must not keep calls out: any number goes at once."""
        return cls(
            services=gate._services,
            limiter=gate._limiter,
            clock=gate._clock,
            timeouts=gate.timeouts,
            pool_size=pool_size,
            concurrency={},
            on_call=gate._on_call,
            counter=gate.counter,
        )

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self._with_patience(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **more: Any) -> Any:
        manager = super().proxy_manager_for(*args, **more)
        self._with_patience(manager)
        return manager

    @staticmethod
    def _with_patience(manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

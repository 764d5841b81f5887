"""Looks at records and clouds by ways of its own: plain kazoo, and the clouds from inside."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from tests.chaos.place import Place
from tests.chaos.violations import Look


class Away(Exception):
    """ZooKeeper or the clouds cannot be asked just now."""


class Observer:
    """Belongs to one thread."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._client = KazooClient(place.zookeeper_hosts, timeout=60.0)
        self._client.start(60.0)

    def close(self) -> None:
        self._client.stop()
        self._client.close()

    def look(self) -> Look:
        """Raises Away."""
        try:
            requests = self._records("/nodepool/requests")  # first: what they name is older than they are
            return Look(
                at=time.monotonic(),
                nodes=self._records("/nodepool/nodes"),
                requests=requests,
                pools=list(self._records("/nodepool/components/pool").values()),
                servers={
                    cloud.name: self._place.sim(f"{cloud.name}/servers") for cloud in self._place.plan.clouds
                },
            )
        except (KazooException, OSError, ValueError) as error:
            raise Away(str(error)) from error
        except Exception as error:  # kazoo's handler has timeouts of its own
            if "timeout" in type(error).__name__.lower() or "timed out" in str(error).lower():
                raise Away(str(error)) from error
            raise

    def counts(self) -> dict[str, dict[str, int]]:
        """What of ours is in each cloud: that it has more than what is foreign."""
        shapes = {cloud.name: cloud.shape for cloud in self._place.plan.clouds}
        return {
            cloud: {kind: self._more(cloud, kind, before[kind]) for kind in _kinds(shapes[cloud])}
            for cloud, before in self._place.foreign.items()
        }

    def _more(self, cloud: str, kind: str, before: Collection[str]) -> int:
        return sum(thing["id"] not in before for thing in self._place.sim(f"{cloud}/{kind}"))

    def _records(self, path: str) -> dict[str, dict[str, Any]]:
        if not self._client.connected:
            raise Away("no connection")
        asked = {name: self._client.get_async(f"{path}/{name}") for name in self._children(path)}
        found = {}
        for name, answer in asked.items():
            try:
                data, _ = answer.get(timeout=10.0)
            except NoNodeError:
                continue
            if data:
                found[name] = json.loads(data)
        return found

    def _children(self, path: str) -> list[str]:
        try:
            return list(self._client.get_children_async(path).get(timeout=10.0))
        except NoNodeError:
            return []


def _kinds(shape: str) -> tuple[str, ...]:
    """What a user of the cloud can see: where Nova does the network, nobody is shown ports."""
    kinds = ("servers", "ports", "floating_ips", "volumes")
    return tuple(kind for kind in kinds if kind != "ports" or shape != "novanet")

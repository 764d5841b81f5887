"""What the keys of static providers do, each seen in the nodes that are registered and in how hosts are looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poolmgr.config.settings import Settings
from tests.scenario.every_key import Acts, SeenStatic

P, POOL, NODE = "static", "static.pools", "static.pools.nodes"


def node(field: str) -> Callable[[Settings], Any]:
    return lambda settings: getattr(SeenStatic(settings).node, field)


def priority(settings: Settings) -> int:
    (pool,) = SeenStatic(settings).site.pools()
    return pool.priority


def drivers(settings: Settings) -> list[str]:
    return [type(one).__name__ for one in settings.providers.values()]


KEYS: tuple[Acts, ...] = (
    Acts(path=f"{P}.name", value="shelf", other="racks", look=node("provider"), seen="shelf", otherwise="racks"),
    Acts(path=f"{P}.driver", value="static", other="openstack", along={f"{P}.cloud": "north"}, look=drivers,
         seen=["OpenStackProvider", "StaticProvider"], otherwise=["OpenStackProvider", "OpenStackProvider"]),
    Acts(path=f"{P}.max-concurrency", value=0, look=lambda s: SeenStatic(s).ask(), seen="requested",
         otherwise="fulfilled"),
    Acts(path=f"{P}.priority", value=50, look=priority, seen=50, otherwise=100),
    Acts(path=f"{POOL}.name", value="big", other="main", look=node("pool"), seen="big", otherwise="main"),
    Acts(path=f"{POOL}.max-servers", value=0, look=lambda s: SeenStatic(s).ask(), seen="failed",
         otherwise="fulfilled"),
    Acts(path=f"{POOL}.priority", value=50, look=priority, seen=50, otherwise=100),
    Acts(path=f"{POOL}.node-attributes", value={"rack": "r"}, look=node("attributes"), seen={"rack": "r"},
         otherwise=None),
    Acts(path=f"{NODE}.name", value="h2", other="h1", look=node("hostname"), seen="h2", otherwise="h1"),
    Acts(path=f"{NODE}.labels", value=["bare", "small"], other=["bare"], look=node("labels"),
         seen=("bare", "small"), otherwise=("bare",)),
    Acts(path=f"{NODE}.username", value="me", look=node("username"), seen="me", otherwise="zuul"),
    Acts(path=f"{NODE}.timeout", value=9, look=lambda s: SeenStatic(s).looks[0][2], seen=9.0, otherwise=5.0),
    Acts(path=f"{NODE}.host-key-checking", value=False, look=lambda s: len(SeenStatic(s).looks) > 0, seen=False,
         otherwise=True),
    Acts(path=f"{NODE}.host-key", value="ssh-ed25519 BBBB", look=lambda s: len(SeenStatic(s).nodes), seen=0,
         otherwise=1),
    Acts(path=f"{NODE}.connection-port", value=2222,
         look=lambda s: (SeenStatic(s).node.connection_port, SeenStatic(s).looks[0][0]),
         seen=(2222, 2222), otherwise=(22, 22)),
    Acts(path=f"{NODE}.connection-type", value="winrm",
         look=lambda s: (SeenStatic(s).node.connection_type, SeenStatic(s).node.host_keys != ()),
         seen=("winrm", False), otherwise=("ssh", True)),
    Acts(path=f"{NODE}.shell-type", value="sh", look=node("shell_type"), seen="sh", otherwise=None),
    Acts(path=f"{NODE}.max-parallel-jobs", value=3, look=lambda s: len(SeenStatic(s).nodes), seen=3, otherwise=1),
    Acts(path=f"{NODE}.python-path", value="/p", look=node("python_path"), seen="/p", otherwise="auto"),
)  # fmt: skip

"""What a demo or a bench consists of: clouds, labels, and the files the parts read. Pure.

The files are JSON, which every YAML reader takes. Cloud, provider and SSH details that only exist once the pretend
clouds run come in as arguments.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: The image that every pretend cloud has from the start.
IMAGE = "debian"
USERNAME = "ci"


@dataclass(frozen=True, kw_only=True)
class DemoLabel:
    """A label, the flavor it needs and the clouds that have it (None: all)."""

    name: str
    flavor: str = "small"
    clouds: tuple[str, ...] | None = None
    min_ready: int = 0


@dataclass(frozen=True, kw_only=True)
class DemoCloud:
    """A pretend cloud; `shape` as in simcloud. `max_servers` is the pool's limit."""

    name: str
    shape: str
    max_servers: int = 20


@dataclass(frozen=True, kw_only=True)
class DemoImage:
    """A disk image and how it is made: `size` bytes of content, in `seconds`, again when it is `rebuild_age` old."""

    name: str = "debian-built"
    seconds: float = 1.0
    size: int = 4 << 20
    rebuild_age: int = 10
    env_vars: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Times in seconds. `rate` is the providers' key of that name: seconds between API calls.

    `session_timeout`: how long ZooKeeper keeps the locks of a daemon that crashed. `image`: a disk image that a builder
    makes with the pretend disk-image-create and that all labels boot from; None: the one that the clouds have.
    """

    clouds: tuple[DemoCloud, ...]
    labels: tuple[DemoLabel, ...]
    tenants: Mapping[str, int] = field(default_factory=dict)  # name -> max-servers
    boot: float = 2.0
    spread: float = 0.5
    ssh_delay: float = 0.0
    api_latency: float = 0.02
    rate: float = 0.01
    session_timeout: float = 10.0
    image: DemoImage | None = None
    seed: int = 1


DEMO_CLOUDS = (
    DemoCloud(name="sim-direct", shape="direct"),
    DemoCloud(name="sim-nat", shape="nat"),
    DemoCloud(name="sim-novanet", shape="novanet"),
    DemoCloud(name="sim-v6", shape="v6"),
    DemoCloud(name="sim-tasks", shape="tasks"),
)
DEMO_LABELS = (
    DemoLabel(name="debian-small", flavor="small", min_ready=2),
    DemoLabel(name="debian-medium", flavor="medium"),
    DemoLabel(name="debian-large", flavor="large", clouds=("sim-direct", "sim-nat", "sim-v6")),
    DemoLabel(name="floating", flavor="small", clouds=("sim-nat",)),
    DemoLabel(name="classic", flavor="small", clouds=("sim-novanet", "sim-tasks")),
)
DEMO_TENANTS = {"alpha": 40, "beta": 6}
DEMO_IMAGE = DemoImage()


def simcloud_config(plan: Plan) -> dict[str, Any]:
    """The file for `poolmgr simcloud`."""
    return {
        "seed": plan.seed,
        "host": "127.0.0.1",
        "port": 0,
        "defaults": {
            "latency": plan.api_latency,
            "boot": {"seconds": plan.boot, "spread": plan.spread, "ssh": plan.ssh_delay},
        },
        "clouds": {cloud.name: {"shape": cloud.shape, "images": [IMAGE]} for cloud in plan.clouds},
    }


def launcher_config(
    plan: Plan,
    *,
    zookeeper_port: int | None,
    ssh_port: int,
    ready: bool = True,
) -> dict[str, Any]:
    """The launcher's file. `ready` False: no min-ready. `zookeeper_port` None: no ZooKeeper is used."""
    return {
        **_zookeeper(plan, zookeeper_port),
        "labels": [
            {"name": label.name, "min-ready": label.min_ready if ready else 0} for label in plan.labels
        ],
        **({"diskimages": [{"name": plan.image.name}]} if plan.image else {}),
        "providers": [_provider(plan, cloud, ssh_port) for cloud in plan.clouds],
        "tenant-resource-limits": [
            {"tenant-name": name, "max-servers": limit} for name, limit in plan.tenants.items()
        ],
    }


def builder_config(
    plan: Plan,
    *,
    zookeeper_port: int | None,
    directory: str,
    python: str,
    web_port: int | None = None,
    paused: bool = False,
    listed: bool = True,
) -> dict[str, Any]:
    """The builder's file; images are in `directory`. `paused`: no build begins; `listed` False: no provider wants any.

    `python`: the interpreter that runs the pretend disk-image-create.
    """
    image = plan.image
    assert image is not None
    disk = {
        "name": image.name,
        "dib-cmd": f"{shlex.quote(python)} -m poolmgr.simcloud.dib",
        "elements": ["debian-minimal", "vm"],
        "username": USERNAME,
        "rebuild-age": image.rebuild_age,
        "keep-builds": 1,
        "keep-uploads": 1,
        "pause": paused,
        "env-vars": {
            "SIMDIB_SIZE": str(image.size),
            "SIMDIB_SECONDS": str(image.seconds),
            "TMPDIR": f"{directory}/tmp",
            **image.env_vars,
        },
    }
    providers = [
        {
            "name": cloud.name,
            "driver": "openstack",
            "cloud": cloud.name,
            "rate": plan.rate,
            "diskimages": [{"name": image.name}] if listed else [],
        }
        for cloud in plan.clouds
    ]
    web = {"builder-webapp": {"port": web_port, "listen_address": "127.0.0.1"}} if web_port else {}
    return {
        **_zookeeper(plan, zookeeper_port),
        "images-dir": f"{directory}/images",
        "build-log-dir": f"{directory}/build-logs",
        "diskimages": [disk],
        "providers": providers,
        **web,
    }


def labels_of(plan: Plan, cloud: DemoCloud) -> Sequence[DemoLabel]:
    return [label for label in plan.labels if label.clouds is None or cloud.name in label.clouds]


def as_file(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2) + "\n"


def _zookeeper(plan: Plan, port: int | None) -> dict[str, Any]:
    """The file must name a port, also when no ZooKeeper is used."""
    return {
        "zookeeper-servers": [{"host": "127.0.0.1", "port": port or 2281}],
        "zookeeper-plaintext": True,
        "zookeeper-timeout": plan.session_timeout,
    }


def _provider(plan: Plan, cloud: DemoCloud, ssh_port: int) -> dict[str, Any]:
    built = plan.image
    image: dict[str, Any] = {"name": built.name if built else IMAGE, "connection-port": ssh_port}
    if built is None:
        image["username"] = USERNAME
    pool = {
        "name": "main",
        "max-servers": cloud.max_servers,
        "labels": [
            {
                "name": label.name,
                "diskimage" if built else "cloud-image": image["name"],
                "flavor-name": label.flavor,
            }
            for label in labels_of(plan, cloud)
        ],
    }
    return {
        "name": cloud.name,
        "driver": "openstack",
        "cloud": cloud.name,
        "rate": plan.rate,
        "launch-timeout": 60,
        "boot-timeout": 30,
        "diskimages" if built else "cloud-images": [image],
        "pools": [pool],
    }

"""What the keys of labels, tenants, images and openstack providers do, each seen in a pretend cloud or in the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from poolmgr.config.settings import Settings
from poolmgr.model.image import Upload, UploadState
from poolmgr.model.node import NodeState
from poolmgr.simcloud.images import Image
from tests.scenario.every_key import ABSENT, Acts, Seen

P = "openstack"
POOL, LABEL, IMAGE, CLOUD_IMAGE = f"{P}.pools", f"{P}.pools.labels", f"{P}.diskimages", f"{P}.cloud-images"
TWO_NETWORKS = [{"name": "one", "v4": "public"}, {"name": "two", "v4": "public"}]
FROM_VOLUME = {f"{LABEL}.boot-from-volume": True}
UNCHECKED = {f"{LABEL}.host-key-checking": False}
OUR_IMAGE = {f"{LABEL}.cloud-image": ABSENT, f"{LABEL}.diskimage": "img"}
TENANT = {"tenant-resource-limits.tenant-name": "t"}
SEVERAL_IMAGES = {"images": ["debian-12", "rocky-9"]}


def node(field: str) -> Callable[[Settings], Any]:
    """A field of the ready node's record."""
    return lambda settings: getattr(Seen(settings).run().node, field)


def server(field: str, **cloud: Any) -> Callable[[Settings], Any]:
    """A field of the server that was made."""
    return lambda settings: getattr(Seen(settings, **cloud).run().server, field)


def fulfilled(
    count: int = 3, *, cloud: dict[str, Any] | None = None, **more: Any
) -> Callable[[Settings], int]:
    """How many of so many requests are."""
    return lambda settings: Seen(settings, **(cloud or {})).run(count, **more).fulfilled


def with_upload(look: Callable[[Seen], Any]) -> Callable[[Settings], Any]:
    """`look` at a launch where the disk image has been uploaded."""

    def see(settings: Settings) -> Any:
        seen = Seen(settings)
        (image,) = (i.id for i in seen.far.images.images.values() if i.name == "debian-12")
        upload = Upload(image="img", build="0000000001", provider="north", state=UploadState.READY)
        seen.site.client.create_upload(replace(upload, external_id=image, state_time=1.0))
        return look(seen.run())

    return see


def launches(seconds: float, **cloud: Any) -> Callable[[Settings], list[str]]:
    """How attempts ended within so many seconds."""

    def see(settings: Settings) -> list[str]:
        seen = Seen(settings, **cloud)
        seen.begin()
        seen.run(seconds=seconds)
        return seen.process.stats.launches

    return see


def component(field: str) -> Callable[[Settings], Any]:
    def see(settings: Settings) -> Any:
        seen = Seen(settings).run()
        with seen.site.client.reading() as snapshot:
            (pool,) = snapshot.pools()
        return getattr(pool, field)

    return see


def networks_of(seen: Seen) -> set[str]:
    return {address.network for address in seen.server.addresses}


def volumes(settings: Settings) -> list[int]:
    return [volume.size_gib for volume in Seen(settings).run().far.volumes.volumes.values()]


def groups(settings: Settings) -> tuple[str, ...]:
    return tuple(Seen(settings, security_groups=["ci"]).run().server.security_groups)


def listings(settings: Settings) -> bool:
    """Whether more than ten lists of servers were asked for in half a minute of waiting for one."""
    seen = Seen(settings, boot=100.0)
    process = seen.begin()
    seen.run(seconds=30.0)
    return process.clouds["north"].calls["compute.GET.servers_detail"] > 10


def in_flight(settings: Settings) -> int:
    seen = Seen(settings, boot=100.0).run(4, seconds=5.0)
    return len(seen.far.compute.servers)


def idle_floating_ips(settings: Settings) -> int:
    seen = Seen(settings, shape="nat")
    network = seen.far.networking.network_named("ext-net")
    seen.far.networking.create_floating_ip(network.id, foreign=True)
    seen.begin()
    seen.site.run(seconds=60.0)
    return len(seen.far.networking.floating_ips)


def idle_ports(settings: Settings) -> int:
    seen = Seen(settings)
    network = seen.far.networking.network_named("public")
    seen.far.networking.create_port(network.id, foreign=True, device_owner="compute:nova", device_id="gone")
    seen.begin()
    seen.site.run(seconds=120.0)
    return len(seen.far.networking.ports)


def floating_ips(settings: Settings) -> int:
    return len(Seen(settings, shape="nat").run().far.networking.floating_ips)


def zones(settings: Settings) -> set[str]:
    seen = Seen(settings, zones=["a", "b"]).run(4)
    return {server.zone for server in seen.far.compute.servers.values()}


def consoles(settings: Settings) -> int:
    seen = Seen(settings, boot={"seconds": 1.0, "ssh": 1000.0})
    process = seen.begin()
    seen.run(seconds=20.0)
    return process.clouds["north"].calls.get("compute.POST.server_action", 0)


def metadata(key: str) -> Callable[[Settings], str | None]:
    return lambda settings: Seen(settings).run(requestor_data="x").server.metadata.get(key)


def ready(settings: Settings) -> int:
    seen = Seen(settings)
    seen.begin()
    seen.site.run(seconds=20.0)
    return len(seen.site.nodes(NodeState.READY))


def aged(settings: Settings) -> int:
    """Ready nodes of which nobody has wanted any for a minute."""
    seen = Seen(settings).run()
    seen.site.cancel(seen.requests[0])
    seen.site.run(seconds=60.0)
    return len(seen.site.nodes())


def held(settings: Settings) -> int:
    seen = Seen(settings).run()
    lock, found = seen.site.client.lock_node(seen.node.id)
    seen.site.client.delete_request(seen.requests[0])
    seen.site.client.save_node(found.moved(NodeState.HOLD, at=seen.site.clock.time()), lock)
    seen.site.client.unlock(lock)
    seen.site.run(seconds=60.0)
    return len(seen.site.nodes())


def limited(*, look: str = "t") -> Callable[[Settings], int]:
    """How many of a tenant's three requests are fulfilled."""
    return fulfilled(tenant_name=look)


def known_image(seen: Seen) -> str:
    image: Image = seen.far.images.images[seen.server.image_id]
    return image.name


def where(settings: Settings) -> list[str]:
    return [name for name, counts in Seen(settings).run().site.world.counts().items() if counts["servers"]]


def drivers(settings: Settings) -> list[str]:
    return [type(one).__name__ for one in settings.providers.values()]


KEYS: tuple[Acts, ...] = (
    # labels, tenants, images
    Acts(path="labels.name", value="large", other="small", only={f"{LABEL}.name": "large"},
         look=fulfilled(1, labels=("large",)), seen=1, otherwise=0),
    Acts(path="labels.min-ready", value=2, look=ready, seen=2, otherwise=0),
    Acts(path="labels.max-ready-age", value=20, look=aged, seen=0, otherwise=1),
    Acts(path="max-hold-age", value=20, look=held, seen=0, otherwise=1),
    Acts(path="tenant-resource-limits.tenant-name", value="t", other="u",
         along={"tenant-resource-limits.max-servers": 1}, look=limited(), seen=1, otherwise=3),
    Acts(path="tenant-resource-limits.max-servers", value=2, along=TENANT, look=limited(), seen=2, otherwise=3),
    Acts(path="tenant-resource-limits.max-cores", value=1, along=TENANT, look=limited(), seen=1, otherwise=3),
    Acts(path="tenant-resource-limits.max-ram", value=5000, along=TENANT, look=limited(), seen=2, otherwise=3),
    Acts(path="tenant-resource-limits.max-volumes", value=1, along=TENANT | FROM_VOLUME, look=limited(),
         seen=1, otherwise=3),
    Acts(path="tenant-resource-limits.max-volume-gb", value=120, along=TENANT | FROM_VOLUME, look=limited(),
         seen=2, otherwise=3),
    Acts(path="tenant-resource-limits.*", value=1, along=TENANT, look=limited(), seen=1, otherwise=3),
    Acts(path="diskimages.username", value="me", along=OUR_IMAGE, look=with_upload(lambda s: s.node.username),
         seen="me", otherwise="zuul"),
    Acts(path="diskimages.python-path", value="/p", along=OUR_IMAGE,
         look=with_upload(lambda s: s.node.python_path), seen="/p", otherwise="auto"),
    Acts(path="diskimages.shell-type", value="sh", along=OUR_IMAGE,
         look=with_upload(lambda s: s.node.shell_type), seen="sh", otherwise=None),
    # providers
    Acts(path=f"{P}.name", value="west", other="north", look=node("provider"), seen="west", otherwise="north"),
    Acts(path=f"{P}.driver", value="static", look=drivers, seen=["StaticProvider", "StaticProvider"],
         otherwise=["OpenStackProvider", "StaticProvider"]),
    Acts(path=f"{P}.cloud", value="west", other="north", look=where, seen=["west"], otherwise=["north"]),
    Acts(path=f"{P}.rate", value=5.0, other=0, look=listings, seen=False, otherwise=True),
    Acts(path=f"{P}.max-concurrency", value=2, look=in_flight, seen=2, otherwise=4),
    Acts(path=f"{P}.priority", value=50, look=component("priority"), seen=50, otherwise=100),
    Acts(path=f"{P}.boot-timeout", value=10, look=launches(30.0, boot={"seconds": 1.0, "ssh": 1000.0}),
         seen=["error.keyscan"] * 2, otherwise=[]),
    Acts(path=f"{P}.launch-timeout", value=20, look=launches(30.0, boot=1000.0),
         seen=["error.servercreatetimeout"], otherwise=[]),
    Acts(path=f"{P}.launch-retries", value=1, look=launches(60.0, faults=[{"kind": "error-server", "message": "boom"}]),
         seen=["error.status"], otherwise=["error.status"] * 3),
    Acts(path=f"{P}.clean-floating-ips", value=True, look=idle_floating_ips, seen=0, otherwise=1),
    Acts(path=f"{P}.port-cleanup-interval", value=20, look=idle_ports, seen=0, otherwise=1),
    # its images
    Acts(path=f"{IMAGE}.config-drive", value=True, along=OUR_IMAGE,
         look=with_upload(lambda s: s.server.config_drive), seen=True, otherwise=False),
    Acts(path=f"{IMAGE}.connection-type", value="winrm", along=OUR_IMAGE,
         look=with_upload(lambda s: (s.node.connection_type, s.node.connection_port, s.node.host_keys != ())),
         seen=("winrm", 5986, False), otherwise=("ssh", 22, True)),
    Acts(path=f"{IMAGE}.connection-port", value=2222, along=OUR_IMAGE,
         look=with_upload(lambda s: s.node.connection_port), seen=2222, otherwise=22),
    Acts(path=f"{CLOUD_IMAGE}.name", value="rocky-9", other="debian-12", only={f"{LABEL}.cloud-image": "rocky-9"},
         look=lambda s: known_image(Seen(s, **SEVERAL_IMAGES).run()), seen="rocky-9", otherwise="debian-12"),
    Acts(path=f"{CLOUD_IMAGE}.image-name", value="rocky-9",
         look=lambda s: known_image(Seen(s, **SEVERAL_IMAGES).run()), seen="rocky-9", otherwise="debian-12"),
    Acts(path=f"{CLOUD_IMAGE}.image-id", value="11111111-2222-3333-4444-555555555555", look=fulfilled(1),
         seen=0, otherwise=1),
    Acts(path=f"{CLOUD_IMAGE}.config-drive", value=True, look=server("config_drive"), seen=True, otherwise=False),
    Acts(path=f"{CLOUD_IMAGE}.username", value="me", look=node("username"), seen="me", otherwise=None),
    Acts(path=f"{CLOUD_IMAGE}.python-path", value="/p", look=node("python_path"), seen="/p", otherwise="auto"),
    Acts(path=f"{CLOUD_IMAGE}.shell-type", value="sh", look=node("shell_type"), seen="sh", otherwise=None),
    Acts(path=f"{CLOUD_IMAGE}.connection-type", value="network_cli", look=node("connection_type"),
         seen="network_cli", otherwise="ssh"),
    Acts(path=f"{CLOUD_IMAGE}.connection-port", value=2222, look=node("connection_port"), seen=2222, otherwise=22),
    # pools
    Acts(path=f"{POOL}.name", value="big", other="main", look=node("pool"), seen="big", otherwise="main"),
    Acts(path=f"{POOL}.max-servers", value=1, look=fulfilled(), seen=1, otherwise=3),
    Acts(path=f"{POOL}.max-cores", value=2, look=fulfilled(), seen=2, otherwise=3),
    Acts(path=f"{POOL}.max-ram", value=5000, look=fulfilled(), seen=2, otherwise=3),
    Acts(path=f"{POOL}.max-volumes", value=1, along=FROM_VOLUME, look=fulfilled(), seen=1, otherwise=3),
    Acts(path=f"{POOL}.max-volume-gb", value=120, along=FROM_VOLUME, look=fulfilled(), seen=2, otherwise=3),
    Acts(path=f"{POOL}.priority", value=50, look=component("priority"), seen=50, otherwise=100),
    Acts(path=f"{POOL}.node-attributes", value={"rack": "r"}, look=node("attributes"), seen={"rack": "r"},
         otherwise=None),
    Acts(path=f"{POOL}.ignore-provider-quota", value=True,
         look=lambda s: len(launches(10.0, quota={"instances": 0})(s)), seen=1, otherwise=0),
    Acts(path=f"{POOL}.availability-zones", value=["b"], look=zones, seen={"b"}, otherwise={"a", "b"}),
    Acts(path=f"{POOL}.networks", value=["two"], other=["one"],
         look=lambda s: networks_of(Seen(s, networks=TWO_NETWORKS).run()), seen={"two"}, otherwise={"one"}),
    Acts(path=f"{POOL}.security-groups", value=["ci"], look=groups, seen=("ci",), otherwise=("default",)),
    Acts(path=f"{POOL}.auto-floating-ip", value=False, along=UNCHECKED, look=floating_ips, seen=0, otherwise=1),
    Acts(path=f"{POOL}.host-key-checking", value=False,
         look=fulfilled(1, cloud={"boot": {"seconds": 1.0, "ssh": 1000.0}}), seen=1, otherwise=0),
    # their labels
    Acts(path=f"{LABEL}.name", value="large", other="small", only={"labels.name": "large"},
         look=fulfilled(1, labels=("large",)), seen=1, otherwise=0),
    Acts(path=f"{LABEL}.diskimage", value="img", only={f"{LABEL}.cloud-image": ABSENT},
         look=with_upload(lambda s: s.node.image_id), seen="/nodepool/images/img/builds/0000000001/providers/north/"
         "images/0000000000", otherwise="debian-12"),
    Acts(path=f"{LABEL}.cloud-image", value="rocky-9", other="debian-12",
         along={f"{P}.cloud-images": [{"name": "debian-12"}, {"name": "rocky-9"}]},
         look=lambda s: known_image(Seen(s, **SEVERAL_IMAGES).run()), seen="rocky-9", otherwise="debian-12"),
    Acts(path=f"{LABEL}.min-ram", value=5000, other=1, along={f"{LABEL}.flavor-name": ABSENT},
         look=lambda s: Seen(s).run().server.flavor.name, seen="large", otherwise="small"),
    Acts(path=f"{LABEL}.flavor-name", value="medium", other="small",
         look=lambda s: Seen(s).run().server.flavor.name, seen="medium", otherwise="small"),
    Acts(path=f"{LABEL}.key-name", value="ci", look=server("key_name", keypairs={"ci": "ssh-ed25519 AAAA"}),
         seen="ci", otherwise=None),
    Acts(path=f"{LABEL}.console-log", value=True, along={f"{P}.boot-timeout": 10, f"{P}.launch-retries": 1},
         look=consoles, seen=1, otherwise=0),
    Acts(path=f"{LABEL}.boot-from-volume", value=True, look=volumes, seen=[50], otherwise=[]),
    Acts(path=f"{LABEL}.volume-size", value=80, along=FROM_VOLUME, look=volumes, seen=[80], otherwise=[50]),
    Acts(path=f"{LABEL}.instance-properties", value={"why": "ci"}, look=metadata("why"), seen="ci", otherwise=None),
    Acts(path=f"{LABEL}.dynamic-instance-properties", value={"who": "{request.requestor}"}, look=metadata("who"),
         seen="test", otherwise=None),
    Acts(path=f"{LABEL}.userdata", value="#!/bin/sh", look=server("user_data"), seen="#!/bin/sh", otherwise=None),
    Acts(path=f"{LABEL}.networks", value=["two"], along={f"{POOL}.networks": ["one"]},
         look=lambda s: networks_of(Seen(s, networks=TWO_NETWORKS).run()), seen={"two"}, otherwise={"one"}),
    Acts(path=f"{LABEL}.host-key-checking", value=False,
         look=fulfilled(1, cloud={"boot": {"seconds": 1.0, "ssh": 1000.0}}), seen=1, otherwise=0),
)  # fmt: skip

"""Every operation of the cloud layer, the same tests on a pretend cloud and on real services.

On each site the tests share one login. A module-wide fixture looks from outside, before and after: nothing may be left.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from poolmgr.errors import ImageGone, NotFound, OverQuota, Rejected
from poolmgr.model.cloud_image import ImageOwner, ImageSpec, ImageStatus, UploadPhase
from poolmgr.model.server import ServerStatus
from tests.integration.openstack.site import DEPLOYMENT, Site, eventually, simcloud_site

NOBODY = "ffffffff-ffff-4fff-bfff-ffffffffffff"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("simcloud", marks=pytest.mark.integration),
        pytest.param("pool-c", marks=pytest.mark.openstack),
    ],
)
def site(request, tmp_path_factory) -> Iterator[Site]:
    """Of the real projects the one with small quotas: no test may take them all for long."""
    if request.param == "simcloud":
        with simcloud_site(tmp_path_factory.mktemp("simcloud")) as (site, left):
            before = left()
            yield site
            assert left() == before
        return
    admin = request.getfixturevalue("admin")
    site = request.getfixturevalue("projects")[request.param]
    before = admin.left()
    yield site
    assert eventually(lambda: admin.left() == before, within=60.0) or admin.left() == before


# -- what a cloud offers ---------------------------------------------------------------------------------


def test_what_is_known_after_connecting(site):
    info = site.cloud.connect()
    assert (info.cloud, info.has_network, info.may_need_floating_ips) == (site.settings.name, True, True)


def test_flavors_have_sizes(site):
    sizes = {flavor.name: (flavor.vcpus, flavor.ram_mib) for flavor in site.cloud.flavors()}
    assert sizes[site.flavor] == (1, 192)
    assert sizes[site.big_flavor] == (4, 4096)


def test_zones_without_the_clouds_own(site):
    zones = site.cloud.zones()
    assert "internal" not in zones
    if site.real:
        assert {"az1", "az2", "broken"} <= set(zones)


def test_limits_and_use(site):
    assert site.cloud.limits()["cores"] == site.cores
    quotas = {(q.service, q.resource): q for q in site.cloud.quotas()}
    instances = quotas["compute", "instances"]
    assert instances.limit == 20
    assert instances.used is not None


def test_an_image_by_name_and_by_id(site):
    image_id = site.cloud.find_image(site.image)
    assert image_id is not None
    assert site.cloud.find_image(image_id) == image_id
    assert site.cloud.find_image("no such image") is None
    assert site.cloud.find_image(NOBODY) is None


# -- a server's life -------------------------------------------------------------------------------------


def test_a_server_behind_a_router_until_nothing_is_left(site):
    owner = site.owner()
    server_id = site.cloud.create_server(site.spec(owner))
    young = eventually(lambda: site.cloud.list_servers().items.get(server_id))
    assert young.owner == owner
    assert young.status in (ServerStatus.BUILD, ServerStatus.ACTIVE)
    server = site.active(server_id)
    assert server.resources == {"instances": 1, "cores": 1, "ram": 192}
    assert server.created_at is not None
    assert site.cloud.get_server(server_id).addresses.fixed_v4 == server.addresses.fixed_v4

    addresses = site.expose(server, owner)
    assert addresses.floating_v4
    assert addresses.interface_ip == addresses.floating_v4
    assert site.expose(server, owner) == addresses
    (ip,) = [ip for ip in site.cloud.list_floating_ips().items.values() if ip.owner == plain(owner)]
    assert ip.address == addresses.floating_v4
    ports = {p.id: p for p in site.cloud.list_ports().items.values() if p.device_id == server_id}
    assert ip.port_id in ports
    shown = eventually(lambda: shows_floating(site, server_id))
    assert shown.addresses.floating_v4 == addresses.floating_v4
    assert isinstance(site.cloud.console(server_id), str)

    site.remove(server, owner)
    assert not [ip for ip in site.cloud.list_floating_ips().items.values() if ip.owner == plain(owner)]
    assert not [p for p in site.cloud.list_ports().items.values() if p.device_id == server_id]
    with pytest.raises(NotFound):
        site.cloud.get_server(server_id)
    site.cloud.delete_server(server_id)  # again: no error


def plain(owner):
    """An owner as the mark of a floating IP tells it."""
    return replace(owner, attempt=None)


def shows_floating(site, server_id):
    server = site.cloud.list_servers().items.get(server_id)
    return server if server is not None and server.addresses.floating_v4 else None


def test_no_floating_ip_for_a_pool_that_wants_none(site):
    owner = site.owner()
    server = site.boot(owner)
    exposed = site.cloud.expose(server, owner=owner, auto_floating_ip=False)
    assert not exposed.floating_v4
    site.remove(server, owner)


def test_user_data_config_drive_key_groups_and_long_metadata(site):
    owner = site.owner()
    name = f"suite-{owner.node_id}"
    site.cloud.import_key(name, PUBLIC_KEY)
    site.cloud.import_key(name, PUBLIC_KEY)  # the same key again
    try:
        spec = site.spec(
            owner,
            key_name=name,
            config_drive=True,
            userdata="#!/bin/sh\necho grüß\n" * 100,
            security_groups=("default",),
        )
        spec = replace(spec, metadata={**spec.metadata, "groups": "x" * 300})
        server = site.active(site.cloud.create_server(spec))
        assert server.metadata["groups"] == "x" * 255
        assert server.owner == owner
        site.remove(server, owner)
    finally:
        site.cloud.delete_key(name)


PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPK2EzCrWW7eQ7Tz9nU5xWW2mP3Yk0Y8cXW6gk5mV3u suite"


def test_a_server_is_deleted_while_it_is_built(site):
    owner = site.owner()
    server_id = site.cloud.create_server(site.spec(owner))
    site.remove(server_id, owner)


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"image": NOBODY, "image_is_id": True}, ImageGone),
        ({"image": "no such image"}, Rejected),
        ({"networks": ("no such network",)}, Rejected),
        ({"security_groups": ("no such group",)}, Rejected),
        ({"key_name": "no such key"}, Rejected),
        ({"az": "no such zone"}, Rejected),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_wrong_name_makes_nothing(site, wrong, error):
    before = set(site.cloud.list_servers().items)
    with pytest.raises(error, match="|".join(str(v) for v in flat(wrong))):
        site.cloud.create_server(site.spec(site.owner(), **wrong))
    assert set(site.cloud.list_servers().items) == before


def flat(wrong):
    for value in wrong.values():
        if isinstance(value, tuple):
            yield from value
        elif isinstance(value, str):
            yield value


def test_more_than_the_quota_is_refused_as_such(site):
    owners = [site.owner() for _ in range(6)]
    made = {}
    for owner in owners[:5]:
        made[owner.node_id] = site.cloud.create_server(site.spec(owner, flavor_name=site.big_flavor))
    with pytest.raises(OverQuota, match=r"(?i)cores"):
        site.cloud.create_server(site.spec(owners[5], flavor_name=site.big_flavor))
    for server_id in made.values():
        site.cloud.delete_server(server_id)
    for server_id in made.values():
        site.gone(server_id)


def test_deleting_what_is_not_there_is_done_already(site):
    site.cloud.delete_server(NOBODY)
    site.cloud.delete_floating_ip(NOBODY)
    site.cloud.delete_port(NOBODY)
    site.cloud.delete_volume(NOBODY)
    site.cloud.delete_image(NOBODY)


# -- other ways to boot ----------------------------------------------------------------------------------


def test_with_ports_made_in_advance(site):
    with site.variant(port_mode="precreate") as ahead:
        owner = ahead.owner()
        server = ahead.boot(owner, security_groups=("default",))
        (port,) = [p for p in ahead.cloud.list_ports().items.values() if p.owner == plain(owner)]
        assert port.device_id == server.id
        addresses = ahead.expose(server, owner)
        assert addresses.interface_ip == addresses.floating_v4
        ahead.cloud.delete_server(server.id)
        ahead.gone(server.id)
        assert port.id in ahead.cloud.list_ports().items  # nova leaves what it did not make
        ahead.remove(server, owner)
        assert port.id not in ahead.cloud.list_ports().items


def test_a_refused_create_takes_its_ports_with_it(site):
    with site.variant(port_mode="precreate") as ahead:
        owner = ahead.owner()
        with pytest.raises(Rejected):
            ahead.cloud.create_server(ahead.spec(owner, az="no such zone"))
        assert not [p for p in ahead.cloud.list_ports().items.values() if p.owner == plain(owner)]


def test_a_server_that_boots_from_a_volume(site):
    assert site.cloud.connect().has_volumes
    owner = site.owner()
    server = site.boot(owner, boot_from_volume=True, volume_gib=2)
    server = eventually(lambda: with_volume(site, server.id))
    (volume_id,) = server.volumes
    site.cloud.mark_volumes(server, owner=owner)
    volume = site.cloud.list_volumes().items[volume_id]
    assert volume.owner == owner
    assert volume.size_gib == 2
    assert volume.server_ids == (server.id,)
    with pytest.raises(Rejected):
        site.cloud.delete_volume(volume_id)
    site.remove(server, owner)
    assert volume_id not in site.cloud.list_volumes().items


def with_volume(site, server_id):
    server = site.cloud.list_servers().items.get(server_id)
    return server if server is not None and server.volumes else None


def test_lists_of_changes_show_what_comes_and_goes(site):
    with site.variant(server_poll="incremental") as polled:
        owner = polled.owner()
        assert polled.cloud.list_servers(partial_ok=True).complete  # the first is a whole one
        server_id = polled.cloud.create_server(polled.spec(owner))

        def seen(status):
            listing = polled.cloud.list_servers(partial_ok=True)
            assert not listing.complete
            server = listing.items.get(server_id)
            return server is not None and server.status is status

        eventually(lambda: seen(ServerStatus.ACTIVE))
        polled.cloud.delete_server(server_id)
        eventually(lambda: seen(ServerStatus.DELETED))
        whole = polled.cloud.list_servers()
        assert whole.complete
        polled.remove(server_id, owner)


# -- images ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def disks(tmp_path_factory) -> Mapping[str, ImageSpec]:
    """A raw image with some content, and the same as qcow2."""
    directory = tmp_path_factory.mktemp("disks")
    raw = directory / "disk.raw"
    raw.write_bytes(
        b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(32_768)) + bytes(1 << 20)
    )
    qcow2 = directory / "disk.qcow2"
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2)]
    subprocess.run(convert, check=True, timeout=60)
    return {
        kind: ImageSpec(name="", path=str(path), size=path.stat().st_size, disk_format=kind)
        for kind, path in (("raw", raw), ("qcow2", qcow2))
    }


def upload_spec(disk, owner):
    content = Path(disk.path).read_bytes()
    return replace(
        disk,
        name=f"suite-{owner.node_id}",
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(content).hexdigest(),
        owner=ImageOwner(
            provider=owner.provider, image="suite", build="1", upload=owner.node_id, deployment=DEPLOYMENT
        ),
        properties={"hw_disk_bus": "virtio"},
    )


@pytest.mark.parametrize("method", ["auto", "put", "import"])
@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_an_image_goes_up_whole_and_boots(site, disks, method, kind):
    with site.variant(image_upload_method=method) as uploading:
        spec = upload_spec(disks[kind], uploading.owner())
        told = []
        image = uploading.cloud.upload_image(spec, progress=told.append)
        try:
            assert image.status is ImageStatus.ACTIVE
            assert (image.size, image.disk_format, image.md5) == (spec.size, kind, spec.md5)
            assert image.owner == spec.owner
            assert image.properties["hw_disk_bus"] == "virtio"
            assert told[-1].sent == spec.size or told[-1].phase is not UploadPhase.SENDING
            assert uploading.cloud.upload_image(spec).id == image.id  # again: found, not made
            assert [i.id for i in uploading.cloud.list_images().items.values() if i.owner == spec.owner] == [
                image.id
            ]
            if kind == "raw" and method == "put":
                owner = uploading.owner()
                uploading.remove(uploading.boot(owner, image=image.id, image_is_id=True), owner)
        finally:
            uploading.cloud.delete_image(image.id)
        with pytest.raises(NotFound):
            uploading.cloud.get_image(image.id)
        assert uploading.cloud.find_image(image.id) is None


def test_an_image_that_is_gone_cannot_be_booted(site, disks):
    spec = upload_spec(disks["raw"], site.owner())
    image = site.cloud.upload_image(spec)
    site.cloud.delete_image(image.id)
    with pytest.raises(ImageGone):
        site.cloud.create_server(site.spec(site.owner(), image=image.id, image_is_id=True))


def test_an_upload_of_a_file_that_has_changed_is_refused(site, disks):
    spec = replace(upload_spec(disks["raw"], site.owner()), md5="0" * 32, sha256="0" * 64)
    with pytest.raises(Exception, match=r"(?i)hash|checksum|md5|sha") as refused:
        site.cloud.upload_image(spec)
    assert not isinstance(refused.value, AssertionError)
    assert not [i for i in site.cloud.list_images().items.values() if i.owner == spec.owner]

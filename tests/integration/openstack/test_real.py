"""What only real services can show: failing hosts, several projects, networks without NAT."""

from __future__ import annotations

import pytest

import poolmgr.cloud
from poolmgr.errors import CloudError, NotFound
from poolmgr.model.cloud_image import ImageOwner, ImageSpec, UploadPhase
from poolmgr.model.server import ServerStatus
from tests.integration.openstack.admin import Objects
from tests.integration.openstack.site import CLOUDS_YAML, DEPLOYMENT, Site, command, eventually

pytestmark = pytest.mark.openstack


@pytest.fixture
def site(projects) -> Site:
    return projects["pool-b"]


def test_a_server_that_is_reached_directly(site):
    owner = site.owner()
    server = site.boot(owner, networks=(site.direct_network,))
    addresses = site.expose(server, owner)
    assert addresses.interface_ip == server.addresses.fixed_v4
    assert not addresses.floating_v4
    site.remove(server, owner)


def test_a_build_that_fails_shows_its_fault_and_can_be_deleted(site):
    owner = site.owner()
    server_id = site.cloud.create_server(site.spec(owner, az=site.failing_zone))

    def failed():
        server = site.cloud.list_servers().items.get(server_id)
        return server if server and server.status is ServerStatus.ERROR else None

    eventually(failed)
    assert site.cloud.get_server(server_id).fault
    site.remove(server_id, owner)


def test_two_projects_do_not_see_each_other(projects, site):
    other = projects["pool-a"]
    owner = site.owner()
    server_id = site.cloud.create_server(site.spec(owner))
    assert server_id not in other.cloud.list_servers().items
    # Until it is scheduled, Nova (Zed) answers strangers with 403: it finds the build request whoever asks.
    eventually(lambda: site.cloud.get_server(server_id).status is ServerStatus.ACTIVE)
    with pytest.raises(NotFound):
        other.cloud.get_server(server_id)
    site.remove(server_id, owner)


def test_one_call_gives_a_server_with_an_address_and_another_takes_it_all_back(admin, monkeypatch):
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(CLOUDS_YAML))
    before = admin.left()
    with poolmgr.cloud.connect("pool-b") as cloud:
        made = cloud.create_server("suite", image="fake-image", flavor="m1.nano", networks=["private"])
        assert made.status is ServerStatus.ACTIVE
        assert made.addresses.interface_ip == made.addresses.floating_v4 != ""
        calls = dict(cloud.calls)
        assert calls["compute.POST.servers"] == 1
        assert calls["network.POST.floatingips"] == 1
        cloud.delete_server("suite")
    assert admin.left() == before


def test_a_create_that_fails_leaves_nothing(admin, monkeypatch):
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(CLOUDS_YAML))
    before = admin.left()
    with poolmgr.cloud.connect("pool-b") as cloud, pytest.raises(CloudError, match="suite"):
        cloud.create_server("suite", image="fake-image", flavor="m1.nano", networks=["private"], az="broken")
    assert admin.left() == before


@pytest.mark.parametrize("name", ["pool-a", "pool-b", "pool-c"])
def test_the_doctor_finds_the_projects_as_they_are(name):
    """Each sees two networks of which one has to be named, which the doctor says; nothing stops a server."""
    report = command("show", name, "--json")
    assert report["could_launch"]
    assert [finding["reason"] for finding in report["findings"]] == ["several-networks"]
    roles = {n["name"]: {role["role"] for role in n["roles"]} for n in report["networks"]}
    assert roles["public"] == {"external", "nat-source"}
    assert roles["private"] == {"internal", "nat-destination"}
    assert roles["direct"] == {"internal"}


def test_a_large_object_goes_to_the_object_store_in_segments_and_leaves_it_again(site, tmp_path):
    """Glance gives tasks to administrators only: the import is refused, and what was staged has to go."""
    objects = Objects(CLOUDS_YAML, site.settings.name)
    disk = tmp_path / "large.raw"
    with disk.open("wb") as file:
        file.truncate(70 << 20)  # more than the store takes in one piece
    spec = ImageSpec(
        name="suite-large",
        path=str(disk),
        size=disk.stat().st_size,
        disk_format="raw",
        owner=ImageOwner(provider=site.name, image="suite", build="1", upload="large", deployment=DEPLOYMENT),
    )
    seen = []

    def told(progress):
        if progress.phase is UploadPhase.IMPORTING and not seen:
            seen.extend(objects.sizes())

    with site.variant(image_api_use_tasks=True) as uploading, pytest.raises(CloudError, match="tasks"):
        uploading.cloud.upload_image(spec, progress=told)
    segments = [size for name, size in seen if "_segments/" in name]
    assert len(segments) == 2
    assert sum(segments) == spec.size
    assert dict(objects.sizes()) == {}
    assert not [i for i in site.cloud.list_images().items.values() if i.owner == spec.owner]

"""What only real services can show: failing hosts, several projects, networks without NAT."""

from __future__ import annotations

import pytest

from poolmgr.errors import NotFound
from poolmgr.model.server import ServerStatus
from tests.integration.openstack.site import Site, eventually

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
    with pytest.raises(NotFound):
        other.cloud.get_server(server_id)
    site.remove(server_id, owner)

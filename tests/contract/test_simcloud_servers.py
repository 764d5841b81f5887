"""Servers of a pretend cloud over real HTTP: what they boot from and plug into, and how their lives go wrong."""

from __future__ import annotations

from typing import Any

import pytest

from poolmgr.simcloud.fault_texts import TEXTS
from tests.contract.sim_api import Api, api

MICRO = "X-OpenStack-Nova-API-Version"
VOLUMES = "block-storage"


@pytest.fixture
def direct():
    with api() as client:
        yield client


@pytest.fixture
def nat():
    with api("nat") as client:
        yield client


def show(client: Api, server_id: str) -> dict[str, Any]:
    return client.get("compute", f"/servers/{server_id}")["server"]


def act(client: Api, server_id: str, name: str, given: Any = None, **more: Any) -> int:
    return client.call("POST", "compute", f"/servers/{server_id}/action", {name: given}, **more).status_code


# -- floating IPs of the nova kind -----------------------------------------------------------------------


def test_a_cloud_without_neutron_gives_floating_ips_from_a_pool():
    with api("novafip") as client:
        assert "network" not in client.urls
        server = client.boot()
        assert [a["addr"] for a in server["addresses"]["private"]] == ["10.1.0.10"]
        assert client.get("compute", "/os-floating-ip-pools")["floating_ip_pools"] == [{"name": "nova"}]
        made = client.call("POST", "compute", "/os-floating-ips", {"pool": "nova"}).json()["floating_ip"]
        wrong = {"address": made["ip"], "fixed_address": "10.9.9.9"}
        assert act(client, server["id"], "addFloatingIp", wrong) == 400
        right = {"address": made["ip"], "fixed_address": "10.1.0.10"}
        assert act(client, server["id"], "addFloatingIp", right, headers={MICRO: "2.37"}) == 202
        client.clock.go(1)
        shown = show(client, server["id"])["addresses"]["private"][-1]
        assert (shown["addr"], shown["OS-EXT-IPS:type"]) == (made["ip"], "floating")
        assert client.sim.world.guest_at(made["ip"]) is not None
        second = client.boot("second")
        assert act(client, second["id"], "addFloatingIp", {"address": made["ip"]}) == 202
        (listed,) = client.get("compute", "/os-floating-ips")["floating_ips"]
        assert listed["instance_id"] == second["id"]  # taken away from the first, without a word
        for path in ("/os-floating-ips", "/os-floating-ip-pools"):
            assert client.call("GET", "compute", path, headers={MICRO: "2.36"}).status_code == 404
        client.call("DELETE", "compute", f"/servers/{second['id']}")
        client.clock.go(1)
        path = f"/os-floating-ips/{made['id']}"
        assert client.get("compute", path)["floating_ip"]["instance_id"] is None
        client.plan("ignored-delete", "compute.DELETE.os-floating-ip", times=1)
        for left in (1, 0):
            assert client.call("DELETE", "compute", path).status_code == 202
            assert client.state()["floating_ips"] == left


def test_quotas_of_floating_ips_in_novas_words():
    with api("novafip", quota={"floating-ips": 1}) as client:
        client.plan("quota", "compute.POST.os-floating-ips", times=1)
        answers = [client.call("POST", "compute", "/os-floating-ips", {"pool": "nova"}) for _ in range(3)]
        assert [a.status_code for a in answers] == [403, 200, 403]
        assert "Maximum number of floating IPs exceeded" in answers[2].text


# -- ports of our own ------------------------------------------------------------------------------------


def own_port(client: Api, network: str) -> dict[str, Any]:
    network_id = client.get("network", f"/networks?name={network}")["networks"][0]["id"]
    body = {"port": {"network_id": network_id, "description": "tag"}}
    return client.call("POST", "network", "/ports", body).json()["port"]


def test_a_port_made_before_its_server_outlives_it(nat: Api):
    port = own_port(nat, "private")
    external = nat.get("network", "/networks?name=ext-net")["networks"][0]["id"]
    body = {"floatingip": {"floating_network_id": external, "port_id": port["id"]}}
    floating = nat.call("POST", "network", "/floatingips", body).json()["floatingip"]
    server = nat.boot(networks=[{"port": port["id"]}])
    assert [a["addr"] for a in server["addresses"]["private"]] == [
        port["fixed_ips"][0]["ip_address"],
        floating["floating_ip_address"],
    ]
    used = nat.get("network", f"/ports/{port['id']}")["port"]
    assert (used["device_id"], used["device_owner"], used["status"]) == (
        server["id"],
        "compute:nova",
        "ACTIVE",
    )
    nat.call("DELETE", "compute", f"/servers/{server['id']}")
    nat.clock.go(1)
    free = nat.get("network", f"/ports/{port['id']}")["port"]
    assert (free["device_id"], free["device_owner"], free["status"]) == ("", "", "DOWN")
    assert free["description"] == "tag"


@pytest.mark.parametrize("kind", ["no-valid-host", "error-server"])
def test_a_failed_build_frees_a_port_of_ours(direct: Api, kind: str):
    port = own_port(direct, "public")
    direct.plan(kind, "compute.POST.servers")
    server_id = direct.create(networks=[{"port": port["id"]}])
    direct.clock.go(5)
    assert show(direct, server_id)["status"] == "ERROR"
    assert direct.get("network", f"/ports/{port['id']}")["port"]["device_id"] == ""


def test_a_failed_build_may_leak_ports(direct: Api):
    direct.plan("error-server", "compute.POST.servers")
    direct.plan("leaked-port", "compute.POST.servers")
    server_id = direct.create()
    direct.clock.go(5)
    (port,) = direct.get("network", "/ports")["ports"]
    assert (port["device_id"], port["status"]) == (server_id, "DOWN")


def test_files_cannot_be_put_into_new_servers_any_more(direct: Api):
    body = direct.server_body(personality=[])
    for version, status in (("2.56", 202), ("2.57", 400)):
        headers = {MICRO: version}
        assert direct.call("POST", "compute", "/servers", body, headers=headers).status_code == status


def test_a_server_loses_the_address_of_a_port_that_is_deleted(direct: Api):
    server = direct.boot()
    (port,) = direct.get("network", f"/ports?device_id={server['id']}")["ports"]
    direct.call("DELETE", "network", f"/ports/{port['id']}")
    direct.clock.go(1)
    assert show(direct, server["id"])["addresses"] == {}


# -- boot from volume ------------------------------------------------------------------------------------


def device(client: Api, **more: Any) -> dict[str, Any]:
    image = client.get("image", "/images?name=debian-12")["images"][0]["id"]
    plain = {"boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "volume"}
    return {**plain, "volume_size": 8, "delete_on_termination": True, **more}


def test_the_volume_is_shown_before_the_server_is_active_and_goes_with_it(direct: Api):
    server_id = direct.create(imageRef=None, block_device_mapping_v2=[device(direct)])
    direct.clock.go(1)
    building = show(direct, server_id)
    (attached,) = building["os-extended-volumes:volumes_attached"]
    assert (building["status"], building["image"]) == ("BUILD", "")
    volume = direct.get(VOLUMES, f"/volumes/{attached['id']}")["volume"]
    assert (volume["status"], volume["name"], volume["metadata"]) == ("in-use", "", {})
    assert direct.call("DELETE", VOLUMES, f"/volumes/{attached['id']}").status_code == 400
    direct.clock.go(2)
    direct.call("DELETE", "compute", f"/servers/{server_id}")
    direct.clock.go(1)
    assert direct.state()["volumes"] == 0


def test_a_leaked_volume_is_detaching_and_then_available(direct: Api):
    server = direct.boot(imageRef=None, block_device_mapping_v2=[device(direct)])
    path = f"/volumes/{server['os-extended-volumes:volumes_attached'][0]['id']}"
    direct.plan("leaked-volume", "compute.DELETE.server", seconds=30)
    direct.call("DELETE", "compute", f"/servers/{server['id']}")
    direct.clock.go(1)
    assert direct.get(VOLUMES, path)["volume"]["status"] == "detaching"
    assert direct.call("DELETE", VOLUMES, path).status_code == 400
    direct.clock.go(30)
    assert direct.get(VOLUMES, path)["volume"]["status"] == "available"
    assert direct.call("DELETE", VOLUMES, path).status_code == 202


def test_a_server_boots_from_a_volume_that_is_there(direct: Api):
    body = {"volume": {"size": 8, "name": "v", "imageRef": device(direct)["uuid"], "metadata": {"a": "1"}}}
    volume = direct.call("POST", VOLUMES, "/volumes", body).json()["volume"]
    mapping = [device(direct, source_type="volume", uuid=volume["id"], delete_on_termination=False)]
    early = direct.call("POST", "compute", "/servers", direct.server_body(block_device_mapping_v2=mapping))
    assert "status must be 'available'" in early.json()["badRequest"]["message"]
    direct.clock.go(1)
    server = direct.boot(imageRef=None, block_device_mapping_v2=mapping)
    shown = direct.get(VOLUMES, f"/volumes/{volume['id']}")["volume"]
    assert (shown["status"], shown["bootable"]) == ("in-use", "true")
    assert shown["attachments"][0]["server_id"] == server["id"]
    direct.call("DELETE", "compute", f"/servers/{server['id']}")
    direct.clock.go(1)
    assert direct.get(VOLUMES, f"/volumes/{volume['id']}")["volume"]["status"] == "available"


def test_a_volume_beyond_the_quota_fails_the_build():
    with api(quota={"volumes": 0}) as client:
        server_id = client.create(imageRef=None, block_device_mapping_v2=[device(client)])
        client.clock.go(5)
        failed = show(client, server_id)
        assert failed["status"] == "ERROR"
        assert "VolumeLimitExceeded" in failed["fault"]["message"]


@pytest.mark.parametrize(
    ("disk", "body", "says"),
    [
        (0, {}, "Only volume-backed servers are allowed for flavors with zero disk"),
        (5, {}, "Flavor's disk is too small"),
        (0, {"volume_size": 9}, "Volume is smaller than the minimum size"),
        (0, {"volume_size": 0}, "Block Device Mapping is Invalid"),
        (0, {"source_type": "volume", "uuid": "nope"}, "failed to get volume nope"),
        (0, {"volume_size": 10, "volume_type": "fast"}, "'volume_type' was unexpected"),
        (0, {"volume_size": 10, "destination_type": "local"}, "Block Device Mapping is Invalid"),
    ],
)
def test_sizes_and_sources_are_checked(disk: int, body: dict[str, Any], says: str):
    flavor = {"name": "f", "vcpus": 1, "ram": 512, "disk": disk}
    with api(flavors=[flavor], images=[{"name": "debian-12", "min_disk": 10}]) as client:
        more = {"block_device_mapping_v2": [device(client, **body)]} if body else {}
        answer = client.call("POST", "compute", "/servers", client.server_body(**more))
        assert answer.status_code in (400, 403)
        assert says in answer.text


def test_an_image_that_wants_more_memory():
    with api(images=[{"name": "debian-12", "min_ram": 4096}]) as client:
        answer = client.call("POST", "compute", "/servers", client.server_body())
        assert "memory is too small" in answer.text


def test_volumes_are_found_changed_and_fail(direct: Api):
    for kind in ("stuck-volume", "error-volume"):
        direct.plan(kind, "block-storage.POST.volumes", name=kind)
        direct.call(
            "POST", VOLUMES, "/volumes", {"volume": {"size": 1, "name": kind, "metadata": {"k": kind}}}
        )
    direct.clock.go(100)
    by_name = {v["name"]: v for v in direct.get(VOLUMES, "/volumes/detail")["volumes"]}
    assert {n: v["status"] for n, v in by_name.items()} == {
        "stuck-volume": "creating",
        "error-volume": "error",
    }
    path = f"/volumes/{by_name['error-volume']['id']}"
    found = direct.get(VOLUMES, "/volumes/detail", params={"metadata": "{'k': 'error-volume'}"})["volumes"]
    assert [v["name"] for v in found] == ["error-volume"]
    assert direct.call("GET", VOLUMES, "/volumes/detail?metadata=x+y").status_code == 400
    body = {"volume": {"description": "d", "metadata": {"a": "1"}}}
    changed = direct.call("PUT", VOLUMES, path, body).json()["volume"]
    assert (changed["description"], changed["metadata"]) == ("d", {"a": "1"})
    assert direct.call("POST", VOLUMES, f"{path}/metadata", {"metadata": {"b": "2"}}).status_code == 200
    assert direct.get(VOLUMES, f"{path}/metadata") == {"metadata": {"a": "1", "b": "2"}}
    direct.call("PUT", VOLUMES, f"{path}/metadata", {"metadata": {"c": "3"}})
    assert direct.get(VOLUMES, f"{path}/metadata") == {"metadata": {"c": "3"}}
    direct.plan("error-delete", "block-storage.DELETE.volume")
    assert direct.call("DELETE", VOLUMES, path).status_code == 202
    assert direct.get(VOLUMES, path)["volume"]["status"] == "error_deleting"


# -- changes-since and tags ------------------------------------------------------------------------------


def test_an_address_that_comes_later_does_not_count_as_a_change(nat: Api):
    server = nat.boot()
    nat.clock.go(100)
    (port,) = nat.get("network", f"/ports?device_id={server['id']}")["ports"]
    external = nat.get("network", "/networks?name=ext-net")["networks"][0]["id"]
    body = {"floatingip": {"floating_network_id": external, "port_id": port["id"]}}
    nat.call("POST", "network", "/floatingips", body)
    nat.clock.go(5)
    after = show(nat, server["id"])
    assert len(after["addresses"]["private"]) == 2
    assert after["updated"] == server["updated"]
    assert nat.get("compute", "/servers?changes-since=2023-11-14T22:14:00Z")["servers"] == []


def test_tags_depend_on_the_microversion(direct: Api):
    body = direct.server_body(tags=["a", "b"])
    assert direct.call("POST", "compute", "/servers", body).status_code == 400
    assert direct.call("POST", "compute", "/servers", body, headers={MICRO: "2.52"}).status_code == 202
    direct.create("untagged")
    for version, query, found in (("2.26", "?tags=a", 1), ("2.26", "?tags=c", 0), ("2.25", "?tags=a", 2)):
        listed = direct.get("compute", f"/servers{query}", headers={MICRO: version})["servers"]
        assert len(listed) == found
    (tagged,) = direct.get("compute", "/servers/detail?tags=b", headers={MICRO: "2.52"})["servers"]
    assert tagged["tags"] == ["a", "b"]
    wrong = direct.server_body(tags=["a/b"])
    assert direct.call("POST", "compute", "/servers", wrong, headers={MICRO: "2.52"}).status_code == 400
    with api("novanet") as old:
        assert old.call("POST", "compute", "/servers", old.server_body(tags=["a"])).status_code == 202


# -- how a build goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
def test_a_server_fails_with_any_known_text(direct: Api, text: str):
    direct.plan("error-server", "compute.POST.servers", text=text)
    server_id = direct.create()
    direct.clock.go(5)
    (server,) = direct.get("compute", "/servers/detail")["servers"]
    assert server["fault"]["message"] == TEXTS[text].message.replace("{id}", server_id)
    assert server["fault"]["code"] == TEXTS[text].status


def test_an_image_that_goes_while_a_server_boots_from_it(direct: Api):
    made = direct.state("/images", "POST", {"name": "mine"})
    server_id = direct.create(imageRef=made["id"])
    assert direct.call("DELETE", "image", f"/images/{made['id']}").status_code == 204
    direct.clock.go(5)
    failed = show(direct, server_id)
    assert (failed["status"], failed["fault"]["code"]) == ("ERROR", 404)
    assert failed["fault"]["message"] == f"Image {made['id']} could not be found."


def test_an_address_may_be_shown_late(direct: Api):
    direct.plan("late-address", "compute.POST.servers", seconds=30)
    server = direct.boot()
    assert server["addresses"] == {}
    (port,) = direct.get("network", f"/ports?device_id={server['id']}")["ports"]
    direct.clock.go(30)
    (shown,) = show(direct, server["id"])["addresses"]["public"]
    assert shown["addr"] == port["fixed_ips"][0]["ip_address"]


@pytest.mark.parametrize(
    ("status", "envelope"), [(403, "forbidden"), (413, "overLimit"), (409, "conflictingRequest")]
)
def test_a_quota_is_refused_as_nova_did_at_different_times(direct: Api, status: int, envelope: str):
    direct.plan("quota", "compute.POST.servers", status=status)
    answer = direct.call("POST", "compute", "/servers", direct.server_body())
    assert (answer.status_code, list(answer.json())) == (status, [envelope])
    assert "Quota exceeded" in answer.text
    assert answer.headers.get("Retry-After") == ("0" if status == 413 else None)


# -- how a deletion goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("stuck-delete", ("ERROR", "deleting")),
        ("error-delete", ("ERROR", None)),
        ("slow-delete", ("ACTIVE", "deleting")),
        ("soft-delete", ("SOFT_DELETED", None)),
    ],
)
def test_a_deletion_that_does_not_come_to_its_end(direct: Api, kind: str, shown: tuple[str, str | None]):
    path = f"/servers/{direct.boot()['id']}"
    direct.plan(kind, "compute.DELETE.server", times=1)
    assert direct.call("DELETE", "compute", path).status_code == 204
    direct.clock.go(30)
    server = direct.get("compute", path)["server"]
    assert (server["status"], server["OS-EXT-STS:task_state"]) == shown
    assert direct.state()["ports"] == 1
    direct.call("DELETE", "compute", path)
    direct.clock.go(5)
    assert direct.state()["servers"] == (1 if kind == "soft-delete" else 0)


def test_a_locked_server_is_not_deleted(direct: Api):
    server_id = direct.boot()["id"]
    direct.plan("refuse", "compute.DELETE.server", text="locked")
    answer = direct.call("DELETE", "compute", f"/servers/{server_id}")
    assert answer.status_code == 409
    assert answer.json()["conflictingRequest"]["message"] == f"Instance {server_id} is locked"


def test_what_is_soft_deleted_can_be_restored_reclaimed_or_deleted_by_force(direct: Api):
    direct.plan("soft-delete", "compute.DELETE.server", seconds=100)
    restored, forced, reclaimed = (direct.boot(name)["id"] for name in ("restored", "forced", "reclaimed"))
    assert act(direct, restored, "restore") == 409
    for server_id in (restored, forced, reclaimed):
        direct.call("DELETE", "compute", f"/servers/{server_id}")
    direct.clock.go(5)
    direct.plan("refuse", "compute.POST.server_action:forceDelete", text="policy", times=1)
    assert [act(direct, forced, "forceDelete") for _ in range(2)] == [403, 202]
    assert act(direct, restored, "restore") == 202
    direct.clock.go(5)
    listed = {s["name"]: s["status"] for s in direct.get("compute", "/servers/detail")["servers"]}
    assert listed == {"restored": "ACTIVE", "reclaimed": "SOFT_DELETED"}
    direct.clock.go(100)
    assert [s["name"] for s in direct.get("compute", "/servers")["servers"]] == ["restored"]


# -- what lists show -------------------------------------------------------------------------------------


def test_a_fault_may_be_told_only_of_one_server():
    with api(fault_in_lists=False) as client:
        client.plan("no-valid-host", "compute.POST.servers")
        server_id = client.create()
        client.clock.go(5)
        (listed,) = client.get("compute", "/servers/detail")["servers"]
        assert (listed["status"], "fault" in listed) == ("ERROR", False)
        assert "fault" in show(client, server_id)


def test_servers_of_a_cell_that_is_down_are_stubs_or_missing():
    with api(zones=["a", "b"]) as client:
        away, there = (client.boot(z, availability_zone=z)["id"] for z in "ab")
        client.plan("down-cell", "compute.GET.server*", message="a")
        for path in ("/servers", "/servers/detail"):
            old = client.get("compute", path)["servers"]
            new = {s["id"]: s for s in client.get("compute", path, headers={MICRO: "2.69"})["servers"]}
            assert [s["id"] for s in old] == [there]
            assert set(new) == {away, there}
            assert new[away]["status"] == "UNKNOWN"
            assert "name" not in new[away]
        one = f"/servers/{away}"
        assert client.call("GET", "compute", one).status_code == 500
        assert client.get("compute", one, headers={MICRO: "2.69"})["server"]["status"] == "UNKNOWN"
        client.state("/faults", "DELETE")
        assert len(client.get("compute", "/servers")["servers"]) == 2


def test_zones_may_be_closed():
    with api(zones=["a", "b"], closed_zones=["b"]) as client:
        zones = client.get("compute", "/os-availability-zone")["availabilityZoneInfo"]
        assert {z["zoneName"]: z["zoneState"]["available"] for z in zones} == {"a": True, "b": False}


@pytest.mark.parametrize("status", [404, 409, 501])
def test_a_console_may_be_refused_and_other_actions_not(direct: Api, status: int):
    server_id = direct.boot()["id"]
    direct.plan("refuse", "compute.POST.server_action:os-getConsoleOutput", status=status)
    assert act(direct, server_id, "os-getConsoleOutput", {}) == status
    assert act(direct, server_id, "os-stop") == 202


def test_a_key_that_is_there_is_a_conflict_and_can_be_compared():
    with api(keypairs={"ours": "ssh-ed25519 AAAA"}) as client:
        body = {"keypair": {"name": "ours", "public_key": "ssh-ed25519 BBBB"}}
        assert client.call("POST", "compute", "/os-keypairs", body).status_code == 409
        assert client.get("compute", "/os-keypairs/ours")["keypair"]["public_key"] == "ssh-ed25519 AAAA"


# -- clocks and bursts -----------------------------------------------------------------------------------


def test_the_clouds_clock_may_be_ahead():
    with api(clock_skew=3600) as client:
        answer = client.call("GET", "compute", "/limits")
        assert answer.headers["Date"] == "Tue, 14 Nov 2023 23:13:20 GMT"
        assert client.boot()["created"] == "2023-11-14T23:13:20Z"
        client.get("compute", "/limits")  # the token is good as long as ever


def test_calls_are_counted_second_by_second(direct: Api):
    start = str(int(direct.clock.now))
    for _ in range(3):
        direct.get("compute", "/limits")
    direct.clock.go(1.5)
    direct.get("network", "/networks")
    direct.get("compute", "/limits")
    traffic = direct.state("/traffic")
    assert traffic["most"] == {"identity": 1, "compute": 3, "network": 1}
    assert traffic["seconds"][start] == {"identity": 1, "compute": 3}
    assert traffic["seconds"][str(int(start) + 1)] == {"network": 1, "compute": 1}

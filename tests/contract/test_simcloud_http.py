"""simcloud over real HTTP: the shapes of its APIs, paging, refusals, and what goes wrong on the wire."""

from __future__ import annotations

import base64
import socket
import threading
from typing import Any

import pytest
import requests

from poolmgr.simcloud.shapes import SHAPES
from tests.contract.sim_api import Api, api

MICRO = "X-OpenStack-Nova-API-Version"


@pytest.fixture
def direct():
    with api() as client:
        yield client


@pytest.fixture
def nat():
    with api("nat") as client:
        yield client


def root(client: Api, service: str) -> requests.Response:
    base = client.auth["auth_url"].removesuffix("/identity/v3")
    return client.http.get(f"{base}/{service}/", timeout=10)


# -- Keystone and discovery ------------------------------------------------------------------------------


def test_version_documents_need_no_token(direct: Api):
    del direct.http.headers["X-Auth-Token"]
    keystone, glance, nova, neutron = (root(direct, s) for s in ("identity", "image", "compute", "network"))
    assert [r.status_code for r in (keystone, glance, nova, neutron)] == [300, 300, 200, 200]
    assert keystone.json()["versions"]["values"][0]["id"] == "v3.14"
    assert glance.json()["versions"][0]["id"] == "v2.15"
    versions = {v["id"]: (v["min_version"], v["version"]) for v in nova.json()["versions"]}
    assert versions == {"v2.0": ("", ""), "v2.1": ("2.1", "2.93")}
    assert neutron.json()["versions"][0]["id"] == "v2.0"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_catalog_has_the_services_of_the_shape(shape: str):
    with api(shape) as client:
        assert ("network" in client.urls) == (shape not in ("novanet", "novafip", "tasks"))
        assert ("object-store" in client.urls) == (shape not in ("novanet", "v1only"))
        versions = root(client, "compute").json()["versions"]
        assert (versions[1]["version"] == "") == (shape in ("novanet", "tasks", "v1only"))


def test_clouds_can_be_used_by_application_credential(direct: Api):
    auth = direct.sim.server.application_credential("one")
    given = {"id": auth["application_credential_id"], "secret": auth["application_credential_secret"]}
    body = {"auth": {"identity": {"methods": ["application_credential"], "application_credential": given}}}
    answer = requests.post(f"{auth['auth_url']}/auth/tokens", json=body, timeout=10)
    assert answer.status_code == 201
    token = answer.headers["X-Subject-Token"]
    headers = {"X-Auth-Token": token}
    assert requests.get(direct.urls["compute"] + "/limits", headers=headers, timeout=10).status_code == 200


def test_without_a_token_or_with_that_of_another_cloud_there_is_nothing(direct: Api):
    other = Api(direct.sim, "two", direct.clock)
    for headers in ({}, {"X-Auth-Token": str(other.http.headers["X-Auth-Token"])}):
        answer = requests.get(direct.urls["compute"] + "/servers", headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, 401)
    other.http.close()


def test_a_wrong_password_is_refused_as_keystone_does(direct: Api):
    direct.auth["password"] = "wrong"
    with pytest.raises(AssertionError, match="requires authentication"):
        direct.log_in()


def test_tokens_expire():
    with api(token_seconds=60) as client:
        client.get("compute", "/limits")
        client.clock.go(61)
        assert client.call("GET", "compute", "/limits").status_code == 401
        client.log_in()
        client.get("compute", "/limits")


def test_an_expired_token_fault_spoils_the_token_for_good(direct: Api):
    direct.plan("expired-token", "compute.GET.limits", times=1)
    assert direct.call("GET", "compute", "/limits").status_code == 401
    assert direct.call("GET", "compute", "/limits").status_code == 401
    direct.log_in()
    direct.get("compute", "/limits")


# -- Nova ------------------------------------------------------------------------------------------------


def test_the_answer_to_a_create_has_no_status_and_no_addresses(direct: Api):
    answer = direct.call("POST", "compute", "/servers", direct.server_body())
    server = answer.json()["server"]
    assert answer.status_code == 202
    assert answer.headers["Location"].endswith(f"/servers/{server['id']}")
    assert set(server) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}


def test_the_flavor_depends_on_the_microversion(direct: Api):
    server = direct.boot()
    assert set(server["flavor"]) == {"id", "links"}
    newer = direct.call("GET", "compute", f"/servers/{server['id']}", headers={MICRO: "2.47"})
    assert newer.headers["OpenStack-API-Version"] == "compute 2.47"
    flavor = newer.json()["server"]["flavor"]
    assert flavor["original_name"] == "small"
    assert "id" not in flavor


@pytest.mark.parametrize("asked", ["2.94", "1.0"])
def test_a_microversion_out_of_range_is_refused(direct: Api, asked: str):
    answer = direct.call("GET", "compute", "/servers", headers={"OpenStack-API-Version": f"compute {asked}"})
    assert answer.status_code == 406
    assert "Minimum is 2.1 and maximum is 2.93" in answer.text


def test_a_cloud_without_microversions_ignores_the_header():
    with api("novanet") as client:
        answer = client.call("GET", "compute", "/servers", headers={MICRO: "2.99"})
        assert answer.status_code == 200
        assert MICRO not in answer.headers


def test_lists_come_in_pages(direct: Api):
    with api(page_size=3) as client:
        made = [client.create(f"n{n}") for n in range(7)]
        path, seen = "/servers/detail", []
        for _ in range(3):
            body = client.get("compute", path)
            seen.append([s["id"] for s in body["servers"]])
            links = body.get("servers_links", [])
            path = "/servers/detail?" + links[0]["href"].split("?")[1] if links else ""
        assert [len(page) for page in seen] == [3, 3, 1]
        assert [server_id for page in seen for server_id in page] == made[::-1]
        assert path == ""


def test_a_limit_is_kept_and_an_unknown_marker_refused(direct: Api):
    for n in range(3):
        direct.create(f"n{n}")
    body = direct.get("compute", "/servers?limit=2&name=n")
    assert len(body["servers"]) == 2
    assert "limit=2" in body["servers_links"][0]["href"]
    assert "name=n" in body["servers_links"][0]["href"]
    answer = direct.call("GET", "compute", "/servers?marker=gone")
    assert (answer.status_code, answer.json()["badRequest"]["message"]) == (400, "marker [gone] not found")


def test_changes_since_has_the_deleted_too(direct: Api):
    old, gone = direct.boot("old"), direct.boot("gone")
    direct.clock.go(100)
    direct.call("DELETE", "compute", f"/servers/{gone['id']}")
    direct.clock.go(10)
    body = direct.get("compute", "/servers/detail?changes-since=2023-11-14T22:14:30Z")
    assert {s["id"]: s["status"] for s in body["servers"]} == {gone["id"]: "DELETED"}
    assert [s["id"] for s in direct.get("compute", "/servers")["servers"]] == [old["id"]]


def test_filters_of_servers(direct: Api):
    direct.boot("alpha")
    direct.create("beta")
    for query, names in (
        ("?status=active", ["alpha"]),
        ("?name=^be", ["beta"]),
        ("?name=a", ["beta", "alpha"]),
        ("?nonsense=1", ["beta", "alpha"]),
    ):
        assert [s["name"] for s in direct.get("compute", f"/servers{query}")["servers"]] == names, query
    strict = direct.call("GET", "compute", "/servers?nonsense=1", headers={MICRO: "2.75"})
    assert strict.status_code == 400


WRONG_SERVERS: list[tuple[dict[str, Any], int, str]] = [
    ({"flavorRef": "nope"}, 400, "Flavor nope could not be found."),
    ({"imageRef": "nope"}, 400, "Can not find requested image"),
    ({"imageRef": None}, 400, "You must specify an image"),
    ({"name": ""}, 400, "attribute name"),
    ({"networks": [{"uuid": "nope"}]}, 400, "Network nope could not be found."),
    ({"networks": [{"port": "nope"}]}, 400, "Port nope could not be found."),
    ({"security_groups": [{"name": "nope"}]}, 400, "Security group nope not found"),
    ({"key_name": "nope"}, 400, "Invalid key_name provided."),
    ({"availability_zone": "nope"}, 400, "The requested availability zone is not available"),
    ({"metadata": {"a": "x" * 256}}, 400, "too long"),
    ({"metadata": {str(n): "" for n in range(129)}}, 403, "Maximum number of metadata items"),
    ({"user_data": "not base64!"}, 400, "base64"),
    ({"user_data": base64.b64encode(b"x" * 50000).decode()}, 400, "too long"),
    ({"block_device_mapping_v2": [{"boot_index": 0, "uuid": "i"}]}, 400, "Block Device Mapping is Invalid"),
]


@pytest.mark.parametrize(("wrong", "status", "says"), WRONG_SERVERS)
def test_a_wrong_create_call_is_refused_in_novas_words(
    direct: Api, wrong: dict[str, Any], status: int, says: str
):
    answer = direct.call("POST", "compute", "/servers", direct.server_body(**wrong))
    assert answer.status_code == status
    (fault,) = answer.json().values()
    assert says in fault["message"]
    assert direct.state()["servers"] == 0


def test_networks_must_be_named_from_2_37_on(direct: Api):
    body = direct.server_body()
    del body["server"]["networks"]
    assert direct.call("POST", "compute", "/servers", body, headers={MICRO: "2.37"}).status_code == 400
    assert direct.call("POST", "compute", "/servers", body).status_code == 202


def test_a_network_of_floating_ips_takes_no_servers(nat: Api):
    external = next(n["id"] for n in nat.get("network", "/networks")["networks"] if n["router:external"])
    answer = nat.call("POST", "compute", "/servers", nat.server_body(networks=[{"uuid": external}]))
    assert answer.status_code == 403
    assert "external network" in answer.json()["forbidden"]["message"]


def test_over_quota_is_a_403_with_novas_words():
    with api(quota={"instances": 1, "cores": 1}) as client:
        client.create()
        answer = client.call("POST", "compute", "/servers", client.server_body())
        assert answer.status_code == 403
        words = "Quota exceeded for cores, instances: Requested 1, 1, but already used 1, 1 of 1, 1 cores, instances"
        assert answer.json()["forbidden"] == {"code": 403, "message": words}
        absolute = client.get("compute", "/limits")["limits"]["absolute"]
        assert (absolute["maxTotalInstances"], absolute["totalInstancesUsed"]) == (1, 1)
        assert absolute["maxTotalRAMSize"] == -1


def test_a_failed_server_shows_its_fault_in_lists_too(direct: Api):
    direct.plan("no-valid-host", "compute.POST.servers")
    direct.create()
    direct.clock.go(5)
    (server,) = direct.get("compute", "/servers/detail")["servers"]
    assert (server["status"], server["addresses"]) == ("ERROR", {})
    assert server["fault"]["message"].startswith("No valid host was found.")
    assert server["fault"]["code"] == 500


def test_a_second_delete_is_not_found(direct: Api):
    path = f"/servers/{direct.boot()['id']}"
    assert direct.call("DELETE", "compute", path).status_code == 204
    assert direct.get("compute", path)["server"]["OS-EXT-STS:task_state"] == "deleting"
    direct.clock.go(5)
    answer = direct.call("DELETE", "compute", path)
    assert (answer.status_code, list(answer.json())) == (404, ["itemNotFound"])


def test_the_console_answers_once_the_server_runs(direct: Api):
    server_id = direct.create("hello")
    ask = {"os-getConsoleOutput": {"length": 10}}
    early = direct.call("POST", "compute", f"/servers/{server_id}/action", ask)
    assert early.status_code == 409
    direct.clock.go(5)
    late = direct.call("POST", "compute", f"/servers/{server_id}/action", ask)
    assert "hello login:" in late.json()["output"]


def test_key_pairs(direct: Api):
    key = {"keypair": {"name": "k", "public_key": "ssh-ed25519 AAAA"}}
    assert direct.call("POST", "compute", "/os-keypairs", key).status_code == 200
    assert direct.call("POST", "compute", "/os-keypairs", key).status_code == 409
    assert direct.get("compute", "/os-keypairs/k")["keypair"]["public_key"] == "ssh-ed25519 AAAA"
    assert len(direct.get("compute", "/os-keypairs")["keypairs"]) == 1
    assert direct.boot(key_name="k")["key_name"] == "k"
    assert direct.call("DELETE", "compute", "/os-keypairs/k").status_code == 202
    assert direct.call("GET", "compute", "/os-keypairs/k").status_code == 404


def test_zones_flavors_and_quota_sets():
    with api(zones=["a", "b"]) as client:
        zones = client.get("compute", "/os-availability-zone")["availabilityZoneInfo"]
        assert [z["zoneName"] for z in zones] == ["a", "b"]
        flavors = client.get("compute", "/flavors/detail?limit=2")
        assert len(flavors["flavors"]) == 2
        assert "marker=" in flavors["flavors_links"][0]["href"]
        one = client.get("compute", f"/flavors/{flavors['flavors'][0]['id']}")["flavor"]
        assert (one["name"], one["vcpus"], one["ram"], one["disk"]) == ("small", 1, 2048, 20)
        detail = client.get("compute", "/os-quota-sets/x/detail")["quota_set"]
        assert detail["cores"] == {"limit": -1, "in_use": 0, "reserved": 0}


def test_floating_ips_of_the_nova_kind(nat: Api):
    server = nat.boot()
    pools = nat.get("compute", "/os-floating-ip-pools")["floating_ip_pools"]
    made = nat.call("POST", "compute", "/os-floating-ips", {"pool": pools[0]["name"]}).json()["floating_ip"]
    assert made["instance_id"] is None
    bind = {"addFloatingIp": {"address": made["ip"]}}
    assert nat.call("POST", "compute", f"/servers/{server['id']}/action", bind).status_code == 202
    (listed,) = nat.get("compute", "/os-floating-ips")["floating_ips"]
    assert listed["instance_id"] == server["id"]
    assert nat.call("DELETE", "compute", f"/os-floating-ips/{made['id']}").status_code == 202
    newer = nat.call("GET", "compute", "/os-floating-ips", headers={MICRO: "2.36"})
    assert newer.status_code == 404


def test_addresses_as_nova_network_showed_them():
    with api("novanet") as client:
        server = client.boot()
        assert server["addresses"] == {
            "public": [{"version": 4, "addr": "127.1.0.10"}],
            "private": [{"version": 4, "addr": "10.1.0.10"}],
        }
        assert server["accessIPv4"] == ""
    with api("tasks") as client:
        assert client.boot()["accessIPv4"] == "127.1.0.10"


# -- Neutron ---------------------------------------------------------------------------------------------


def test_a_floating_ip_is_made_and_bound_in_one_call(nat: Api):
    server = nat.boot()
    (port,) = nat.get("network", f"/ports?device_id={server['id']}&fields=id&fields=fixed_ips")["ports"]
    assert set(port) == {"id", "fixed_ips"}
    external = nat.get("network", "/networks?router:external=true")["networks"][0]["id"]
    body = {"floatingip": {"floating_network_id": external, "port_id": port["id"], "description": "tag"}}
    answer = nat.call("POST", "network", "/floatingips", body)
    made = answer.json()["floatingip"]
    assert answer.status_code == 201
    assert (made["port_id"], made["description"], made["status"]) == (port["id"], "tag", "ACTIVE")
    assert made["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    again = nat.call("POST", "network", "/floatingips", body)
    assert again.status_code == 409
    assert again.json()["NeutronError"]["type"] == "FloatingIPPortAlreadyAssociated"
    nat.clock.go(5)
    shown = nat.get("compute", f"/servers/{server['id']}")["server"]["addresses"]["private"][-1]
    assert (shown["addr"], shown["OS-EXT-IPS:type"]) == (made["floating_ip_address"], "floating")
    assert nat.get("network", f"/floatingips?port_id={port['id']}")["floatingips"] == [made]
    path = f"/floatingips/{made['id']}"
    unbound = nat.call("PUT", "network", path, {"floatingip": {"port_id": None}}).json()["floatingip"]
    assert (unbound["port_id"], unbound["status"]) == (None, "DOWN")
    assert nat.call("DELETE", "network", path).status_code == 204
    assert nat.call("DELETE", "network", path).json()["NeutronError"]["type"] == "FloatingIPNotFound"


def test_a_network_that_no_router_joins_takes_no_floating_ip(nat: Api):
    with nat.sim.world.clouds["one"].lock:
        nat.sim.world.clouds["one"].networking.routers.clear()
    server = nat.boot()
    (port,) = nat.get("network", f"/ports?device_id={server['id']}")["ports"]
    external = nat.get("network", "/networks?name=ext-net")["networks"][0]["id"]
    body = {"floatingip": {"floating_network_id": external, "port_id": port["id"]}}
    answer = nat.call("POST", "network", "/floatingips", body)
    assert answer.status_code == 404
    assert "is not reachable from subnet" in answer.json()["NeutronError"]["message"]


def test_over_quota_of_neutron_is_a_409():
    with api("nat", quota={"floating-ips": 0, "ports": 1}) as client:
        external = client.get("network", "/networks?name=ext-net")["networks"][0]["id"]
        private = client.get("network", "/networks?name=private")["networks"][0]["id"]
        for path, body in (
            ("/floatingips", {"floatingip": {"floating_network_id": external}}),
            ("/ports", {"port": {"network_id": private}}),
        ):
            answer = client.call("POST", "network", path, body)
            assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (409, "OverQuota")
        quota = client.get("network", "/quotas/x/details.json")["quota"]
        assert quota["floatingip"] == {"limit": 0, "used": 0, "reserved": 0}


def test_networks_subnets_and_routers_hang_together(nat: Api):
    networks = {n["name"]: n for n in nat.get("network", "/networks")["networks"]}
    (router,) = nat.get("network", "/routers")["routers"]
    assert router["external_gateway_info"]["network_id"] == networks["ext-net"]["id"]
    (interface,) = nat.get("network", f"/ports?device_id={router['id']}")["ports"]
    assert interface["device_owner"] == "network:router_interface"
    (subnet,) = nat.get("network", f"/subnets?network_id={networks['private']['id']}")["subnets"]
    assert (subnet["cidr"], subnet["gateway_ip"]) == ("10.1.0.0/16", "10.1.0.1")
    assert networks["private"]["subnets"] == [subnet["id"]]
    assert interface["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.1.0.1"}]


def test_ports_come_in_pages_where_asked_for(direct: Api):
    for n in range(5):
        direct.create(f"n{n}")
    direct.clock.go(5)
    assert len(direct.get("network", "/ports")["ports"]) == 5
    first = direct.get("network", "/ports?limit=3")
    rest = direct.get("network", "/ports?" + first["ports_links"][0]["href"].split("?")[1])
    assert [len(first["ports"]), len(rest["ports"])] == [3, 2]
    assert "ports_links" not in rest


def test_a_port_of_our_own_is_made_described_tagged_and_deleted(direct: Api):
    network = direct.get("network", "/networks")["networks"][0]["id"]
    body = {"port": {"network_id": network, "name": "p", "description": "tag"}}
    made = direct.call("POST", "network", "/ports", body).json()["port"]
    assert (made["device_id"], made["status"], made["description"]) == ("", "DOWN", "tag")
    path = f"/ports/{made['id']}"
    assert direct.call("PUT", "network", f"{path}/tags", {"tags": ["a"]}).json() == {"tags": ["a"]}
    assert direct.get("network", "/ports?tags=a")["ports"][0]["id"] == made["id"]
    server = direct.boot(networks=[{"port": made["id"]}])
    assert direct.get("network", path)["port"]["device_id"] == server["id"]
    used = direct.call("POST", "compute", "/servers", direct.server_body(networks=[{"port": made["id"]}]))
    assert used.status_code == 409
    assert direct.call("DELETE", "network", path).status_code == 204
    assert direct.call("GET", "network", path).json()["NeutronError"]["type"] == "PortNotFound"


def test_security_groups(direct: Api):
    made = direct.call("POST", "network", "/security-groups", {"security_group": {"name": "web"}})
    group = made.json()["security_group"]
    assert [g["name"] for g in direct.get("network", "/security-groups")["security_groups"]] == [
        "default",
        "web",
    ]
    assert direct.boot(security_groups=[{"name": group["id"]}])["security_groups"] == [{"name": "web"}]
    assert direct.call("DELETE", "network", f"/security-groups/{group['id']}").status_code == 204


# -- Cinder ----------------------------------------------------------------------------------------------


def test_volumes():
    with api(quota={"volumes": 1}) as client:
        body = {"volume": {"size": 5, "name": "v", "metadata": {"a": "b"}}}
        made = client.call("POST", "block-storage", "/volumes", body)
        assert made.status_code == 202
        path = f"/volumes/{made.json()['volume']['id']}"
        client.clock.go(1)
        assert client.get("block-storage", path)["volume"]["status"] == "available"
        assert client.call("POST", "block-storage", "/volumes", body).status_code == 413
        absolute = client.get("block-storage", "/limits")["limits"]["absolute"]
        assert (absolute["maxTotalVolumes"], absolute["totalVolumesUsed"]) == (1, 1)
        assert len(client.get("block-storage", "/volumes/detail")["volumes"]) == 1
        assert client.call("DELETE", "block-storage", path).status_code == 202
        assert client.call("GET", "block-storage", path).status_code == 404


def test_a_server_that_boots_from_a_volume_shows_it(direct: Api):
    body = direct.server_body()["server"]
    device = {
        "boot_index": 0,
        "uuid": body["imageRef"],
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": 8,
        "delete_on_termination": True,
    }
    server = direct.boot(imageRef=None, block_device_mapping_v2=[device])
    assert server["image"] == ""
    (attached,) = server["os-extended-volumes:volumes_attached"]
    assert direct.get("volumev3", f"/volumes/{attached['id']}")["volume"]["status"] == "in-use"


# -- what goes wrong on the wire -------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "status"), [("http-500", 500), ("http-503", 503), ("throttle", 429)])
def test_refusals_by_fault(direct: Api, kind: str, status: int):
    direct.plan(kind, "compute.GET.servers_detail", times=1, retry_after=7)
    answer = direct.call("GET", "compute", "/servers/detail")
    assert answer.status_code == status
    assert answer.headers["Retry-After"] == "7"
    assert direct.call("GET", "compute", "/servers/detail").status_code == 200


def test_any_refusal_can_be_planned(direct: Api):
    direct.plan(
        "refuse", "compute.DELETE.server", status=409, message="Cannot 'delete' instance while it is locked"
    )
    answer = direct.call("DELETE", "compute", f"/servers/{direct.boot()['id']}")
    assert (answer.status_code, list(answer.json())) == (409, ["conflictingRequest"])


def test_garbage_is_html_with_status_200(direct: Api):
    direct.plan("garbage", "compute.GET.limits")
    answer = direct.call("GET", "compute", "/limits")
    assert (answer.status_code, answer.text[:6]) == (200, "<html>")


def test_a_dropped_connection_did_nothing(direct: Api):
    body = direct.server_body()
    direct.plan("drop", "compute.POST.servers", times=1)
    with pytest.raises(requests.ConnectionError):
        direct.call("POST", "compute", "/servers", body)
    assert direct.state()["servers"] == 0


def test_a_lost_answer_did_everything(direct: Api):
    body = direct.server_body("lost")
    direct.plan("lost-answer", "compute.POST.servers", times=1)
    with pytest.raises(requests.ConnectionError):
        direct.call("POST", "compute", "/servers", body)
    assert [s["name"] for s in direct.get("compute", "/servers")["servers"]] == ["lost"]


def test_a_call_that_hangs_holds_up_nobody():
    ended: list[Exception] = []

    def hang(url: str, token: str) -> None:
        try:
            requests.get(url, headers={"X-Auth-Token": token}, timeout=600)
        except requests.ConnectionError as error:
            ended.append(error)

    with api() as client:
        client.plan("hang", "compute.GET.servers_detail", times=1)
        arguments = (client.urls["compute"] + "/servers/detail", str(client.http.headers["X-Auth-Token"]))
        thread = threading.Thread(target=hang, args=arguments)
        thread.start()
        while not client.state("/faults").get("hang"):
            pass
        for _ in range(20):
            client.get("compute", "/servers/detail")
        assert ended == []
    thread.join()  # the end of the server ended it
    assert len(ended) == 1


def test_slow_calls_take_longer_side_by_side():
    with api(latency=0.2) as client:
        threads = [threading.Thread(target=client.get, args=("compute", "/limits")) for _ in range(8)]
        client.plan("slow", "compute.GET.limits", seconds=0.2)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.state("/calls")["compute.GET.limits"] == 8


def test_a_rate_limit_answers_429_with_seconds_or_a_date():
    with api(rate_limit={"rate": 1, "burst": 2, "retry-after": 3}) as client:
        answers = [client.call("GET", "compute", "/limits") for _ in range(2)]
        assert [a.status_code for a in answers] == [200, 429]  # the login was the first of the burst
        assert answers[1].headers["Retry-After"] == "3"
        assert answers[1].json()["overLimit"]["retryAfter"] == "3"
        client.clock.go(1)
        client.get("compute", "/limits")
    with api(rate_limit={"rate": 1, "burst": 1, "retry-after": 3, "as-date": True}) as client:
        answer = client.call("GET", "compute", "/limits")
        assert answer.headers["Retry-After"] == "Tue, 14 Nov 2023 22:13:23 GMT"


def test_the_second_page_can_fail():
    with api(page_size=1) as client:
        client.create("a")
        client.create("b")
        client.plan("http-500", "compute.GET.servers_detail", skip=1)
        href = client.get("compute", "/servers/detail")["servers_links"][0]["href"]
        assert client.http.get(href, timeout=10).status_code == 500


@pytest.mark.parametrize(
    "sent",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: much\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /" + b"x" * 70_000,
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_closed(direct: Api, sent: bytes):
    host, port = direct.sim.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    direct.get("compute", "/limits")


def test_requests_sent_at_once_on_one_connection_are_answered_in_turn(direct: Api):
    host, port = direct.sim.url.removeprefix("http://").split(":")
    one = b"GET /_sim/one/calls HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nowhere/compute HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(one * 500 + last)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.count(b"HTTP/1.1 200 OK") == 500
    assert answer.count(b"HTTP/1.1 404 Not Found") == 1


BODIES = [
    None,
    [],
    "text",
    7,
    {"server": None},
    {"server": []},
    {"server": {"networks": [7]}},
    {"os-stop": 1},
]


@pytest.mark.parametrize("body", BODIES)
def test_no_body_breaks_the_server(direct: Api, body: Any):
    for service, path in (
        ("compute", "/servers"),
        ("compute", "/os-keypairs"),
        ("network", "/floatingips"),
        ("network", "/ports"),
        ("image", "/images"),
        ("image", "/tasks"),
        ("block-storage", "/volumes"),
        ("identity", "/auth/tokens"),
    ):
        answer = direct.call("POST", service, path, body)
        assert 400 <= answer.status_code < 500 or (answer.status_code, service) in ((201, "image"),), path
    direct.get("compute", "/limits")


def test_unknown_paths_and_methods(direct: Api):
    assert direct.call("GET", "compute", "/nonsense").status_code == 404
    assert direct.call("PUT", "compute", "/servers").status_code == 405
    assert direct.call("GET", "network", "/networks/nope").status_code == 404
    base = direct.auth["auth_url"].removesuffix("/identity/v3")
    assert requests.get(f"{base}/compute/v9/servers", timeout=10).status_code == 404
    assert requests.get(f"{base}x/compute/v2.1/servers", timeout=10).status_code == 404


# -- /_sim/ ----------------------------------------------------------------------------------------------


def test_the_state_is_counted_past_the_api(nat: Api):
    nat.boot()
    everything = requests.get(f"{nat.sim.url}/_sim/", timeout=10).json()
    assert set(everything) == {"one", "two"}
    one = everything["one"]
    assert (one["servers"], one["ports"], one["floating_ips"], one["images"]) == (1, 1, 0, 0)
    assert one["servers_by_status"] == {"ACTIVE": 1}
    assert one["calls_by_operation"]["compute.POST.servers"] == 1
    assert nat.state("/servers")[0]["name"] == "n"
    assert nat.state() == one == nat.sim.counts()["one"]


def test_foreign_things_can_be_put_there_and_are_marked(nat: Api):
    server = nat.state(
        "/servers", "POST", {"name": "theirs", "metadata": {"nodepool_provider_name": "other"}}
    )
    nat.state("/ports", "POST", {"status": "DOWN", "device_id": "dead", "device_owner": "compute:nova"})
    nat.state("/floating_ips", "POST", {"description": "theirs"})
    nat.state("/volumes", "POST", {"name": "theirs"})
    nat.state("/images", "POST", {"name": "theirs", "properties": {"a": "b"}})
    assert nat.get("compute", f"/servers/{server['id']}")["server"]["status"] == "ACTIVE"
    counts = nat.state()
    assert [counts[k] for k in ("servers", "ports", "floating_ips", "volumes", "images")] == [1, 2, 1, 1, 1]
    assert all(p["foreign"] for p in nat.state("/ports") if p["device_owner"].startswith("compute"))
    assert nat.get("image", "/images?a=b")["images"][0]["name"] == "theirs"
    nat.state(f"/servers/{server['id']}", "POST", {"status": "SHUTOFF"})
    assert nat.get("compute", f"/servers/{server['id']}")["server"]["status"] == "SHUTOFF"
    nat.state(f"/servers/{server['id']}", "DELETE")
    nat.clock.go(5)
    assert nat.state()["servers"] == 0


def test_quotas_faults_and_tokens_can_be_changed(direct: Api):
    assert direct.state("/quota", "POST", {"instances": 0}) == {"instances": 0}
    assert direct.call("POST", "compute", "/servers", direct.server_body()).status_code == 403
    assert direct.state("/quota", "POST", {"instances": None}) == {}
    direct.plan("http-500", "compute.*")
    assert direct.call("GET", "compute", "/limits").status_code == 500
    direct.state("/faults", "DELETE")
    direct.get("compute", "/limits")
    direct.state("/tokens", "DELETE")
    assert direct.call("GET", "compute", "/limits").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/_sim/nowhere", None, 404),
        ("GET", "/_sim/one/nonsense", None, 404),
        ("POST", "/_sim/one/nonsense", {}, 404),
        ("POST", "/_sim/one/faults", {"kind": "flood"}, 400),
        ("POST", "/_sim/one/quota", {"servers": 1}, 400),
        ("POST", "/_sim/one/ports", {"colour": "red"}, 400),
        ("DELETE", "/_sim/one/servers/nope", None, 400),
    ],
)
def test_what_sim_does_not_know(direct: Api, method: str, path: str, body: Any, status: int):
    answer = requests.request(method, direct.sim.url + path, json=body, timeout=10)
    assert answer.status_code == status
    assert answer.json()["error"]


# -- the rest of the APIs --------------------------------------------------------------------------------


def test_deletes_that_do_not_happen(nat: Api):
    server = nat.boot()
    (port,) = nat.get("network", f"/ports?device_id={server['id']}")["ports"]
    external = nat.get("network", "/networks?name=ext-net")["networks"][0]["id"]
    body = {"floatingip": {"floating_network_id": external}}
    floating = nat.call("POST", "network", "/floatingips", body).json()["floatingip"]
    volume = nat.call("POST", "block-storage", "/volumes", {"volume": {"size": 1}}).json()["volume"]
    nat.clock.go(1)
    for service, path, operation, done in (
        ("network", f"/ports/{port['id']}", "network.DELETE.port", 204),
        ("network", f"/floatingips/{floating['id']}", "network.DELETE.floatingip", 204),
        ("block-storage", f"/volumes/{volume['id']}", "block-storage.DELETE.volume", 202),
    ):
        nat.plan("ignored-delete", operation, times=1)
        assert nat.call("DELETE", service, path).status_code == done
        assert nat.call("GET", service, path).status_code == 200
        assert nat.call("DELETE", service, path).status_code == done
        assert nat.call("GET", service, path).status_code == 404


def test_quota_refusals_of_other_services_by_fault(nat: Api):
    external = nat.get("network", "/networks?name=ext-net")["networks"][0]["id"]
    for service, path, operation, body, status in (
        (
            "network",
            "/floatingips",
            "network.POST.floatingips",
            {"floatingip": {"floating_network_id": external}},
            409,
        ),
        ("network", "/ports", "network.POST.ports", {"port": {"network_id": external}}, 409),
        ("block-storage", "/volumes", "block-storage.POST.volumes", {"volume": {"size": 1}}, 413),
    ):
        nat.plan("quota", operation, times=1)
        answer = nat.call("POST", service, path, body)
        assert answer.status_code == status
        assert "exceeded" in answer.text
        assert nat.call("POST", service, path, body).status_code < 300


def test_a_leaked_port_is_there_after_its_server(direct: Api):
    server = direct.boot()
    direct.plan("leaked-port", "compute.DELETE.server")
    direct.call("DELETE", "compute", f"/servers/{server['id']}")
    direct.clock.go(5)
    assert direct.state()["servers"] == 0
    (port,) = direct.get("network", "/ports?status=DOWN")["ports"]
    assert port["device_id"] == server["id"]


def test_metadata_and_interfaces_of_a_server(direct: Api):
    server_id = direct.boot(metadata={"a": "1"})["id"]
    path = f"/servers/{server_id}/metadata"
    assert direct.get("compute", path) == {"metadata": {"a": "1"}}
    more = direct.call("POST", "compute", path, {"metadata": {"b": "2"}}).json()
    assert more == {"metadata": {"a": "1", "b": "2"}}
    assert direct.call("PUT", "compute", path, {"metadata": {"c": "3"}}).json() == {"metadata": {"c": "3"}}
    (interface,) = direct.get("compute", f"/servers/{server_id}/os-interface")["interfaceAttachments"]
    assert interface["fixed_ips"][0]["ip_address"] == "127.1.0.10"


def test_actions(direct: Api):
    path = f"/servers/{direct.boot()['id']}"
    for action, status in (("os-stop", "SHUTOFF"), ("os-start", "ACTIVE")):
        assert direct.call("POST", "compute", f"{path}/action", {action: None}).status_code == 202
        assert direct.get("compute", path)["server"]["status"] == status
    assert direct.call("POST", "compute", f"{path}/action", {"dance": None}).status_code == 400
    assert direct.call("POST", "compute", f"{path}/action", {"forceDelete": None}).status_code == 202
    direct.clock.go(5)
    assert direct.call("GET", "compute", path).status_code == 404


def test_nova_floating_ips_are_taken_off_again():
    with api("novanet") as client:
        path = f"/servers/{client.boot()['id']}"
        address = client.call("POST", "compute", "/os-floating-ips", {}).json()["floating_ip"]["ip"]
        client.call("POST", "compute", f"{path}/action", {"addFloatingIp": {"address": address}})
        client.clock.go(5)
        assert len(client.get("compute", path)["server"]["addresses"]["public"]) == 2
        client.call("POST", "compute", f"{path}/action", {"removeFloatingIp": {"address": address}})
        client.clock.go(5)
        assert len(client.get("compute", path)["server"]["addresses"]["public"]) == 1
        lost = client.call("POST", "compute", f"{path}/action", {"addFloatingIp": {"address": "192.0.2.1"}})
        assert lost.status_code == 404
        assert client.call("POST", "compute", "/os-floating-ips", {"pool": "nope"}).status_code == 404


def test_single_things_of_neutron(nat: Api):
    for collection, entity in (
        ("networks", "network"),
        ("subnets", "subnet"),
        ("routers", "router"),
        ("ports", "port"),
    ):
        listed = nat.get("network", f"/{collection}")[collection][0]
        assert nat.get("network", f"/{collection}/{listed['id']}") == {entity: listed}
        assert nat.call("GET", "network", f"/{collection}/nope").status_code == 404
    group = nat.get("network", "/security-groups")["security_groups"][0]
    assert nat.get("network", f"/security-groups/{group['id']}")["security_group"] == group
    assert {"alias": "router"}.items() <= nat.get("network", "/extensions")["extensions"][0].items()
    assert nat.get("network", "/quotas/x")["quota"]["port"] == -1
    assert nat.get("network", "")["resources"][0]["name"] == "networks"
    assert nat.call("DELETE", "network", "/security-groups/nope").status_code == 404
    port = nat.get("network", "/ports")["ports"][0]["id"]
    changed = nat.call("PUT", "network", f"/ports/{port}", {"port": {"description": "new"}})
    assert changed.json()["port"]["description"] == "new"
    assert nat.call("GET", "network", "/ports?marker=nope").status_code == 404
    assert nat.call("GET", "network", "/ports?limit=x").status_code == 400


def test_tokens_can_be_looked_at_and_given_up(direct: Api):
    token = str(direct.http.headers["X-Auth-Token"])
    url = f"{direct.auth['auth_url']}/auth/tokens"
    subject = {"X-Subject-Token": token}
    assert direct.http.get(url, headers=subject, timeout=10).json()["token"]["project"]["name"] == "ci"
    catalog = direct.http.get(f"{direct.auth['auth_url']}/auth/catalog", timeout=10).json()["catalog"]
    assert "compute" in {service["type"] for service in catalog}
    assert direct.http.delete(url, headers=subject, timeout=10).status_code == 204
    assert direct.call("GET", "compute", "/limits").status_code == 401


def test_a_handler_that_breaks_is_a_500_and_the_next_call_is_fine(
    direct: Api, caplog: pytest.LogCaptureFixture
):
    direct.sim.world.clouds["one"].quota = None  # type: ignore[assignment] - as a bug might
    answer = direct.call("GET", "compute", "/limits")
    assert (answer.status_code, list(answer.json())) == (500, ["computeFault"])
    assert "GET /cloud-one/compute/v2.1/limits" in caplog.text
    direct.get("compute", "/servers")

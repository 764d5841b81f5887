"""Networks, addresses, floating IPs and groups of a pretend cloud over real HTTP, and how they go wrong."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from tests.contract.sim_api import Api, api

EXT = {"name": "ext", "v4": "floating", "external": True}


@pytest.fixture
def nat():
    with api("nat") as client:
        yield client


def networks(client: Api) -> dict[str, str]:
    return {n["name"]: n["id"] for n in client.get("network", "/networks")["networks"]}


def plug(client: Api, *names: str, **more: Any) -> dict[str, Any]:
    """A server on these networks, as listed."""
    ids = networks(client)
    return client.boot(networks=[{"uuid": ids[name]} for name in names], **more)


def port_of(client: Api, server_id: str) -> dict[str, Any]:
    return client.get("network", f"/ports?device_id={server_id}")["ports"][0]


def allocate(client: Api, network: str, port_id: str | None = None, **more: Any) -> Any:
    body = {"floating_network_id": networks(client)[network], "port_id": port_id, **more}
    return client.call("POST", "network", "/floatingips", {"floatingip": body})


# -- kinds of networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "addresses"),
    [
        ({"v4": "cgnat"}, ["100.64.1.10"]),
        ({"v4": "global"}, ["192.88.99.10"]),
        ({"v6": "ula"}, ["fd00:1::a"]),
        ({"v6": "global"}, ["3ffe:1::a"]),
        ({"v6": "mapped"}, ["::ffff:127.1.0.10"]),
        ({"v4": "private", "v6": "ula"}, ["10.1.0.10", "fd00:1::a"]),
        ({"v4": "public", "v6": "mapped"}, ["127.1.0.10", "::ffff:127.1.0.11"]),
        ({"v4": "private", "admin_state_up": False}, []),
    ],
)
def test_a_network_gives_the_addresses_it_is_told_to(plan: dict[str, Any], addresses: list[str]):
    with api(networks=[{"name": "n", **plan}]) as client:
        server = plug(client, "n")
        shown = server["addresses"].get("n", [])
        assert [a["addr"] for a in shown] == addresses
        assert [a["version"] for a in shown] == [ip_address(a).version for a in addresses]
        assert server["status"] == "ACTIVE"


def test_looks_global_and_is_nobodys():
    with api(networks=[{"name": "n", "v4": "global", "v6": "global"}]) as client:
        shown = [a["addr"] for a in plug(client, "n")["addresses"]["n"]]
        assert all(ip_address(a).is_global for a in shown)


def test_two_networks_of_one_name_are_one_in_a_servers_record():
    plans = [{"name": "same", "v4": "private"}, {"name": "same", "v4": "cgnat"}]
    with api(networks=plans) as client:
        ids = [n["id"] for n in client.get("network", "/networks?name=same")["networks"]]
        server = client.boot(networks=[{"uuid": i} for i in ids])
        assert [a["addr"] for a in server["addresses"]["same"]] == ["10.1.0.10", "100.64.1.10"]
        listed = client.get("network", f"/ports?device_id={server['id']}")["ports"]
        assert [p["network_id"] for p in listed] == ids


def test_a_network_may_lack_subnet_gateway_port_security_and_show_what_it_is_made_of():
    plans = [
        {"name": "bare"},
        {"name": "open", "v4": "private", "port_security": False, "gateway": False},
        {"name": "provider", "v4": "cgnat", "physical": "physnet1", "shared": True},
    ]
    with api(networks=plans) as client:
        shown = {n["name"]: n for n in client.get("network", "/networks")["networks"]}
        assert shown["bare"]["subnets"] == []
        assert shown["provider"]["provider:physical_network"] == "physnet1"
        assert shown["provider"]["project_id"] != shown["open"]["project_id"]
        assert [s["gateway_ip"] for s in client.get("network", "/subnets")["subnets"]] == [None, "100.64.1.1"]
        for name, more, says in (
            ("bare", {}, "requires a subnet"),
            ("open", {"security_groups": [{"name": "default"}]}, "requires port_security_enabled"),
        ):
            body = client.server_body(networks=[{"uuid": shown[name]["id"]}], **more)
            answer = client.call("POST", "compute", "/servers", body)
            assert answer.status_code == 400
            assert says in answer.text
        server = plug(client, "open")
        assert port_of(client, server["id"])["security_groups"] == []
        group = client.get("network", "/security-groups")["security_groups"][0]["id"]
        body = {"port": {"network_id": shown["open"]["id"], "security_groups": [group]}}
        assert client.call("POST", "network", "/ports", body).status_code == 400


def test_a_project_without_networks():
    with api(networks=[]) as client:
        assert client.get("network", "/networks")["networks"] == []
        assert client.boot()["addresses"] == {}


def test_without_a_network_named_several_are_a_conflict():
    with api(networks=[{"name": "a", "v4": "private"}, {"name": "b", "v4": "cgnat"}]) as client:
        answer = client.call("POST", "compute", "/servers", client.server_body(networks="auto"))
        assert answer.status_code == 409
        assert "Multiple possible networks" in answer.text


@pytest.mark.parametrize(("typed", "keys"), [(True, 4), (False, 2)])
def test_addresses_come_with_their_type_or_without(typed: bool, keys: int):
    with api("nat", typed_addresses=typed) as client:
        (shown,) = plug(client, "private")["addresses"]["private"]
        assert len(shown) == keys
        assert ("OS-EXT-IPS:type" in shown) == typed


# -- floating IPs ----------------------------------------------------------------------------------------


def test_two_external_networks_and_one_route():
    plans = [EXT, {**EXT, "name": "other"}, {"name": "in", "v4": "private", "routed_to": "ext"}]
    with api(networks=plans) as client:
        port = port_of(client, plug(client, "in")["id"])
        lost = allocate(client, "other", port["id"])
        assert lost.status_code == 404
        assert "is not reachable from subnet" in lost.json()["NeutronError"]["message"]
        assert client.state()["floating_ips"] == 0
        addresses = {
            r.json()["floatingip"]["floating_ip_address"]
            for r in (allocate(client, "ext", port["id"]), allocate(client, "other"))
        }
        assert len(addresses) == 2


def test_what_neutron_does_not_bind():
    plans = [EXT, {"name": "six", "v6": "ula"}, {"name": "four", "v4": "private", "routed_to": "ext"}]
    with api(networks=plans) as client:
        six = port_of(client, plug(client, "six")["id"])
        answer = allocate(client, "ext", six["id"])
        assert (answer.status_code, "has no fixed IPv4 addresses" in answer.text) == (400, True)
        four = port_of(client, plug(client, "four")["id"])
        wrong = allocate(client, "ext", four["id"], fixed_ip_address="10.9.9.9")
        assert (wrong.status_code, "does not have fixed ip" in wrong.text) == (400, True)
        assert client.state()["floating_ips"] == 0


@pytest.mark.parametrize(("seconds", "later"), [(None, "DOWN"), (30, "ACTIVE")])
def test_a_floating_ip_may_stay_down(nat: Api, seconds: float | None, later: str):
    nat.plan("down-floating-ip", "network.POST.floatingips", seconds=seconds)
    port = port_of(nat, plug(nat, "private")["id"])
    made = allocate(nat, "ext-net", port["id"]).json()["floatingip"]
    assert (made["status"], made["port_id"]) == ("DOWN", port["id"])
    nat.clock.go(31)
    assert nat.get("network", f"/floatingips/{made['id']}")["floatingip"]["status"] == later


@pytest.mark.parametrize("seconds", [0, 20])
def test_a_floating_ip_may_be_stolen(nat: Api, seconds: float):
    nat.plan("stolen-floating-ip", "network.POST.floatingips", seconds=seconds)
    server = plug(nat, "private")
    port = port_of(nat, server["id"])
    made = allocate(nat, "ext-net", port["id"]).json()["floatingip"]
    assert made["port_id"] == port["id"]
    nat.clock.go(seconds)
    stolen = nat.get("network", f"/floatingips/{made['id']}")["floatingip"]
    thief = nat.get("network", f"/ports/{stolen['port_id']}")["port"]
    assert (thief["name"], thief["device_id"]) == ("thief", "")
    nat.clock.go(1)
    shown = nat.get("compute", f"/servers/{server['id']}")["server"]["addresses"]["private"]
    assert [a["OS-EXT-IPS:type"] for a in shown] == ["fixed"]


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("no-external-address", 400, "ExternalIpAddressExhausted"),
        ("no-fixed-address", 409, "IpAddressGenerationFailure"),
        ("neutron-quota", 409, "OverQuota"),
        ("no-route", 404, "ExternalGatewayForFloatingIPNotFound"),
        ("policy", 403, "PolicyNotAuthorized"),
    ],
)
def test_neutron_refuses_in_its_own_words(nat: Api, text: str, status: int, kind: str):
    nat.plan("refuse", "network.POST.floatingips", text=text)
    answer = allocate(nat, "ext-net")
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (status, kind)


# -- security groups -------------------------------------------------------------------------------------


def test_names_of_groups_are_not_unique():
    with api(security_groups=["web", "web"]) as client:
        groups = client.get("network", "/security-groups?name=web")["security_groups"]
        assert len(groups) == 2
        body = client.server_body(security_groups=[{"name": "web"}])
        answer = client.call("POST", "compute", "/servers", body)
        assert (answer.status_code, "Multiple security groups found" in answer.text) == (409, True)
        assert client.boot(security_groups=[{"name": groups[1]["id"]}])["security_groups"] == [
            {"name": "web"}
        ]
        again = client.call("POST", "network", "/security-groups", {"security_group": {"name": "default"}})
        assert again.json()["NeutronError"]["type"] == "SecurityGroupDefaultAlreadyExists"

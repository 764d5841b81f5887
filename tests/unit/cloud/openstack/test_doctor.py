"""What the survey of a cloud means: one thing at a time differs from a cloud in which all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolmgr.cloud.openstack.doctor import examine
from poolmgr.cloud.openstack.floating import NatPlan, Refuse, nat_plan
from poolmgr.cloud.openstack.survey import Survey
from poolmgr.cloud.openstack.survey_sections import group_of, skew
from poolmgr.cloud.openstack.topology import Network, Router, Subnet, Topology
from poolmgr.config.settings import CloudNetwork, CloudSettings
from poolmgr.model.cloud_report import (
    ClockFacts,
    CloudReport,
    Fault,
    FloatingIpNeed,
    GroupFacts,
    LoginFacts,
    ServiceFacts,
    Severity,
    TlsFacts,
    ZoneFacts,
)
from poolmgr.model.server import Flavor, Quota
from poolmgr.model.trouble import Trouble

NOW = 1_700_000_000.0
DAY = 86400.0

EXT = Network(id="x", name="ext", external=True)
EXT2 = Network(id="y", name="ext2", external=True)
INSIDE = Network(id="i", name="inside")
OTHER = Network(id="o", name="other")
SUBNET = Subnet(id="s", network_id="i", cidr="10.0.0.0/24", gateway_ip="10.0.0.1")
V6 = Subnet(id="s6", network_id="i", cidr="2600::/64", ip_version=6)
ROUTER = Router(id="r", gateway_network_id="x", name="gate", subnet_ids=frozenset({"s"}))
LOGIN = LoginFacts(
    auth_type="password",
    auth_url="https://k/v3",
    renewable=True,
    user="ci",
    project="ci",
    roles=("member",),
    issued_at=NOW - 1.0,
    expires_at=NOW + 3600.0,
    received_at=NOW,
)
SERVICE = ServiceFacts(
    url="https://n/v2.1",
    catalog_url="https://n/v2.1",
    type="compute",
    interface="public",
    region="one",
    versions=("2.1",),
    microversions=("2.1", "2.93"),
    microversion="2.67",
)
SERVICES: dict[str, ServiceFacts | None] = dict.fromkeys(
    ("compute", "network", "image", "block-storage"), SERVICE
)
SMALL = Flavor(id="f", name="small", vcpus=2, ram_mib=2048, disk_gib=20)


def topology(
    *networks: Network, subnets: tuple[Subnet, ...] = (SUBNET,), routers: tuple[Router, ...] = (ROUTER,)
) -> Topology:
    return Topology(
        networks={n.id: n for n in networks},
        subnets={s.id: s for s in subnets},
        routers={r.id: r for r in routers},
    )


WELL = Survey(
    login=LOGIN,
    clock=ClockFacts(skew=0.0),
    tls=(
        TlsFacts(
            host="k",
            port=443,
            protocol="TLSv1.3",
            checked=True,
            issuer="A",
            names=("k",),
            not_after=NOW + 90 * DAY,
        ),
    ),
    services=SERVICES,
    topology=topology(EXT, INSIDE),
    security_groups=(GroupFacts(id="g", name="default", rules=4, ssh=True),),
    key_pairs=(),
    flavors=(SMALL,),
    zones=(ZoneFacts(name="a", available=True),),
    quotas=(Quota(service="compute", resource="cores", limit=10, used=8),),
    import_methods=(),
)


def report(found: Survey = WELL, *, reachable_v6: bool = False, **settings: Any) -> CloudReport:
    """As the doctor gives it; the plan is what the networks allow, unless `found` has one."""
    cloud = CloudSettings(name="north", **settings)
    if found.plan is None and found.topology is not None:
        found = replace(found, plan=nat_plan(cloud, found.topology))
    return examine(cloud, found, region="one", now=NOW, seconds=0.1, reachable_v6=reachable_v6)


def told(found: CloudReport) -> list[tuple[Severity, Trouble]]:
    return [(finding.severity, finding.trouble) for finding in found.findings]


def test_where_all_is_well_there_is_nothing_to_say():
    found = report()
    assert told(found) == []
    assert found.could_launch
    assert found.servers.networks == ("inside",)
    assert found.servers.floating_ip is FloatingIpNeed.NEEDED


B, W, N = Severity.BLOCKS, Severity.WARNS, Severity.NOTE


@pytest.mark.parametrize(
    ("changes", "severity", "trouble", "words"),
    [
        ({"login": replace(LOGIN, roles=("admin", "member"))}, W, Trouble.ADMIN_LOGIN, "role admin"),
        ({"login": replace(LOGIN, roles=("reader",))}, W, Trouble.NO_ROLE, "only the role reader"),
        ({"login": replace(LOGIN, renewable=False)}, W, Trouble.TOKEN_ENDED, "ends in 1.0 hours"),
        ({"login": replace(LOGIN, expires_at=NOW + 60)}, W, Trouble.SHORT_TOKENS, "61 seconds"),
        ({"login": None, "projects": ("a", "b")}, B, Trouble.PROJECT_REFUSED, "it may use a, b"),
        ({"login": None, "projects": ()}, B, Trouble.PROJECT_REFUSED, "it may use none"),
        ({"clock": ClockFacts(skew=90.0)}, W, Trouble.CLOCK_SKEW, "90 seconds ahead"),
        ({"clock": ClockFacts(skew=-90.0)}, W, Trouble.CLOCK_SKEW, "90 seconds behind"),
        (
            {"clock": None, "login": replace(LOGIN, issued_at=NOW - 300)},
            *(W, Trouble.CLOCK_SKEW, "seconds behind"),
        ),
        ({"tls": (replace(WELL.tls[0], protocol=""),)}, W, Trouble.UNENCRYPTED, "k:443"),
        ({"tls": (replace(WELL.tls[0], checked=False),)}, W, Trouble.CERTIFICATE_UNCHECKED, "k:443"),
        ({"tls": (replace(WELL.tls[0], not_after=NOW + DAY),)}, W, Trouble.CERTIFICATE_ENDS, "1.0 days"),
        ({"services": {**SERVICES, "image": None}}, B, Trouble.SERVICE_MISSING, "no image service"),
        ({"services": {**SERVICES, "block-storage": None}}, N, Trouble.NO_VOLUMES, "block storage"),
        (
            {"services": {**SERVICES, "network": None}, "topology": None},
            *(N, Trouble.NO_NETWORK_SERVICE, "no network service"),
        ),
        ({"flavors": ()}, B, Trouble.NO_FLAVORS, "no flavor"),
        ({"flavors": (replace(SMALL, disk_gib=0),)}, W, Trouble.ONLY_DISKLESS, "none of the 1 flavors"),
        ({"zones": (ZoneFacts(name="a", available=False),)}, B, Trouble.ZONE_DOWN, "zone a"),
        (
            {"zones": (ZoneFacts(name="a", available=True), ZoneFacts(name="b", available=False))},
            *(W, Trouble.ZONE_DOWN, "zone b"),
        ),
        ({"topology": topology(EXT)}, B, Trouble.NO_NETWORK, "no network"),
        ({"topology": topology(INSIDE, OTHER)}, W, Trouble.SEVERAL_NETWORKS, "inside (i), other (o)"),
        (
            {"topology": topology(EXT, EXT2, INSIDE, routers=())},
            *(B, Trouble.SEVERAL_NAT_SOURCES, "ext (x), ext2 (y)"),
        ),
        (
            {"topology": topology(EXT, INSIDE, replace(OTHER, bare=True))},
            *(N, Trouble.NETWORK_WITHOUT_SUBNET, "network other (o)"),
        ),
        (
            {"topology": topology(EXT, replace(EXT2, name="ext", admin_up=False), INSIDE)},
            *(N, Trouble.NETWORK_AMBIGUOUS, "called ext: x, y"),
        ),
        ({"topology": topology(INSIDE, routers=())}, W, Trouble.PRIVATE_ONLY, "only private"),
        ({"topology": topology(INSIDE, subnets=(V6,), routers=())}, B, Trouble.NO_IPV6_ROUTE, "no route"),
        (
            {"security_groups": (replace(WELL.security_groups[0], ssh=False),)},
            *(W, Trouble.SSH_CLOSED, "default lets no SSH in"),
        ),
        (
            {"quotas": (Quota(service="compute", resource="cores", limit=10, used=9),)},
            *(B, Trouble.QUOTA_FULL, "9 of 10 cores in use, a server needs 2"),
        ),
        (
            {"quotas": (Quota(service="compute", resource="instances", limit=0),)},
            *(B, Trouble.QUOTA_FULL, "a limit of 0 instances"),
        ),
        (
            {"quotas": (Quota(service="network", resource="floating-ips", limit=3, used=3),)},
            *(B, Trouble.QUOTA_FULL, "floating-ips"),
        ),
        (
            {
                "flavors": None,
                "faults": {"flavors": Fault(reason="silent", message="cloud north: flavors: nothing")},
            },
            *(B, Trouble.SILENT, "flavors: nothing"),
        ),
        (
            {"zones": None, "faults": {"zones": Fault(reason="", message="cloud north: zones: no")}},
            *(W, Trouble.CALL_REFUSED, "zones: no"),
        ),
    ],
)
def test_one_thing_is_wrong(changes, severity, trouble, words):
    found = report(replace(WELL, **changes))
    assert told(found) == [(severity, trouble)]
    assert words in found.findings[0].message
    assert found.findings[0].message.startswith("cloud north: ")
    assert found.could_launch is (severity is not B)


@pytest.mark.parametrize(
    "changes",
    [
        {"quotas": (Quota(service="compute", resource="instances", limit=None, used=99),)},
        {"quotas": (Quota(service="block-storage", resource="volumes", limit=1, used=1),)},
        {"clock": None},
        {"security_groups": (replace(WELL.security_groups[0], ssh=None),)},
        {"zones": None},
        {
            "tls": (
                TlsFacts(
                    host="127.0.0.1", port=80, protocol="", checked=False, issuer="", names=(), not_after=None
                ),
            )
        },
    ],
)
def test_what_is_nothing_to_worry_about(changes):
    assert told(report(replace(WELL, **changes))) == []


@pytest.mark.parametrize(
    ("settings", "need", "why"),
    [
        ({}, FloatingIpNeed.NEEDED, "no public address; from ext"),
        ({"requires_floating_ip": True}, FloatingIpNeed.NEEDED, "requires_floating_ip is true; from ext"),
        ({"requires_floating_ip": False}, FloatingIpNeed.NOT_NEEDED, "requires_floating_ip is false"),
        ({"floating_ip_source": None}, FloatingIpNeed.NOT_NEEDED, "no floating IPs"),
        ({"private": True}, FloatingIpNeed.NOT_NEEDED, "the cloud is private"),
        (
            {"networks": (CloudNetwork(name="inside", routes_ipv4_externally=True),)},
            *(FloatingIpNeed.NOT_NEEDED, "has a public address"),
        ),
        (
            {"networks": (CloudNetwork(name="gone", nat_source=True),)},
            *(FloatingIpNeed.IMPOSSIBLE, "network gone: not found"),
        ),
    ],
)
def test_whether_servers_need_a_floating_ip_and_why(settings, need, why):
    servers = report(**settings).servers
    assert servers.floating_ip is need
    assert why in servers.floating_ip_why


@pytest.mark.parametrize(
    ("subnets", "v6", "settings", "kind"),
    [
        ((SUBNET,), False, {}, "floating_v4"),
        ((SUBNET, V6), False, {}, "floating_v4"),
        ((SUBNET, V6), True, {}, "public_v6"),
        ((SUBNET, V6), True, {"force_ipv4": True}, "floating_v4"),
        ((SUBNET,), False, {"private": True}, "private_v4"),
        ((V6,), True, {}, "public_v6"),
    ],
)
def test_by_which_address_servers_are_reached(subnets, v6, settings, kind):
    found = replace(WELL, topology=topology(EXT, INSIDE, subnets=subnets))
    assert report(found, reachable_v6=v6, **settings).servers.connect_to == kind


def roles(found: CloudReport) -> dict[tuple[str, str], str]:
    return {(n.name, role.role): role.why for n in found.networks for role in n.roles}


def test_roles_and_where_they_come_from():
    assert roles(report()) == {
        ("ext", "external"): "router:external",
        ("ext", "nat-source"): "the only router:external network",
        ("inside", "internal"): "not router:external",
        ("inside", "nat-destination"): "routed to ext by router gate",
        ("inside", "attached"): "the only network that servers can be attached to",
    }
    second = replace(WELL, topology=topology(EXT, EXT2, INSIDE, replace(OTHER, physical=True)))
    found = roles(report(second))
    assert found["ext", "nat-source"] == "gateway of router gate"
    assert found["other", "external"] == "provider:physical_network is told (IPv4 only)"


def test_what_clouds_yaml_says_is_told_with_its_place():
    said = CloudNetwork(
        name="inside", routes_ipv6_externally=True, default_interface=True, nat_destination=True
    )
    found = roles(report(networks=(said,), origins={"networks": "clouds.yaml:7"}))
    place = "clouds.yaml (clouds.yaml:7)"
    assert found["inside", "external"] == f"{place} (IPv6 only)"
    assert found["inside", "nat-destination"] == found["inside", "default-interface"] == place
    assert found["inside", "attached"] == "default_interface in clouds.yaml"


def test_each_cause_is_told_once():
    hung = Fault(reason="silent", message="cloud north: compute: nothing")
    faults = {
        "flavors": Fault(reason="silent", message="cloud north: flavors: nothing"),
        "services.compute": hung,
        "connect": hung,
        "zones": Fault(reason="silent", message="cloud north: zones: nothing"),
    }
    found = report(replace(WELL, flavors=None, zones=None, faults=faults))
    assert [(f.severity, f.section) for f in found.findings] == [(B, "services.compute")]


def test_without_a_login_only_that_is_told():
    refused = {
        "login": Fault(reason="login-refused", message="cloud north: 401"),
        "clock": Fault(reason="wrong-auth-url", message="cloud north: 404"),
    }
    assert told(report(Survey(faults=refused))) == [(B, Trouble.LOGIN_REFUSED)]
    more = {**refused, "projects": Fault(reason="login-refused", message="cloud north: 401 again")}
    assert told(report(Survey(faults=more))) == [(B, Trouble.LOGIN_REFUSED)]


def test_the_worst_comes_first():
    found = report(
        replace(WELL, flavors=(), services={**SERVICES, "block-storage": None}, clock=ClockFacts(skew=99.0))
    )
    assert [severity for severity, _ in told(found)] == [B, W, N]


def test_a_plan_that_is_not_known_is_no_plan():
    found = replace(WELL, plan=NatPlan(problem=Refuse("two", Trouble.SEVERAL_NAT_SOURCES)), topology=None)
    assert report(found).servers.floating_ip is FloatingIpNeed.UNKNOWN


# -- what sections make of answers -----------------------------------------------------------------------


def rule(**more: Any) -> dict[str, Any]:
    return {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", **more}


@pytest.mark.parametrize(
    ("rules", "ssh"),
    [
        (None, None),
        ([], False),
        ([rule(port_range_min=22, port_range_max=22, remote_ip_prefix="0.0.0.0/0")], True),
        ([rule(port_range_min=1, port_range_max=65535)], True),
        ([rule(protocol=None)], True),
        ([rule(protocol=6, remote_ip_prefix="::/0")], True),
        ([rule(port_range_min=80, port_range_max=80)], False),
        ([rule(port_range_min=22, port_range_max=22, remote_ip_prefix="10.0.0.0/8")], False),
        ([rule(protocol="udp")], False),
        ([rule(protocol=None, remote_group_id="g")], False),
        ([rule(protocol=None, direction="egress")], False),
    ],
)
def test_whether_a_security_group_lets_ssh_in(rules, ssh):
    group = group_of(
        {"id": "g", "name": "default", **({} if rules is None else {"security_group_rules": rules})}
    )
    assert (group.ssh, group.rules) == (ssh, len(rules or ()))


@pytest.mark.parametrize(
    ("told_at", "ahead"), [(100.0, 0.0), (101.0, 0.0), (99.5, 0.0), (40.0, -60.5), (161.0, 60.5)]
)
def test_a_clock_with_whole_seconds_is_compared(told_at, ahead):
    assert skew(told_at, 100.0, 102.0) == ahead

"""`poolmgr cloud show` on pretend clouds over HTTP: every shape, and clouds in which anything fails."""

from __future__ import annotations

import json
import time
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import yaml

from poolmgr.cli import main
from poolmgr.cloud import connect
from poolmgr.cloud.library.connection import Connection
from poolmgr.cloud.openstack.retry import RetryPolicy
from poolmgr.config.clouds import load_clouds
from poolmgr.model.cloud_report import CloudReport, FloatingIpNeed, Severity
from poolmgr.model.trouble import Trouble
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.server import RunningSim, running
from poolmgr.simcloud.shapes import SHAPES
from tests.fakes import FakeClock

NEEDED, NOT_NEEDED, UNKNOWN = FloatingIpNeed.NEEDED, FloatingIpNeed.NOT_NEEDED, FloatingIpNeed.UNKNOWN
SERVICES = {"compute", "network", "image", "block-storage", "object-store"}
DOCUMENT = Path(__file__).parents[2] / "doc/doctor.rst"


@dataclass(frozen=True)
class Expected:
    """What is right for one shape."""

    networks: tuple[str, ...] = ()
    connect_to: str = ""
    need: FloatingIpNeed = NOT_NEEDED
    microversion: str | None = "2.69"
    without: frozenset[str] = frozenset()
    upload: str = "put"
    roles: frozenset[tuple[str, str]] = frozenset()


PUBLIC = Expected(
    networks=("public",),
    connect_to="public_v4",
    roles=frozenset({("public", "external"), ("public", "nat-source"), ("public", "attached")}),
)
NAT = Expected(
    networks=("private",),
    connect_to="floating_v4",
    need=NEEDED,
    roles=frozenset(
        {
            ("ext-net", "external"),
            ("ext-net", "nat-source"),
            ("private", "internal"),
            ("private", "nat-destination"),
            ("private", "attached"),
        }
    ),
)
OLD = frozenset({"network"})
EXPECTED = {
    "direct": PUBLIC,
    "nat": NAT,
    "novanet": Expected(microversion=None, without=OLD | {"object-store"}),
    "novafip": Expected(microversion="2.37", without=OLD, need=UNKNOWN),
    "v6": Expected(
        networks=("dual",),
        connect_to="public_v6",
        microversion="2.52",
        roles=frozenset({("dual", "external"), ("dual", "default-interface"), ("dual", "attached")}),
    ),
    "tasks": Expected(microversion=None, without=OLD, upload="tasks"),
    "v1only": Expected(**{**vars(PUBLIC), "microversion": None, "upload": "v1", "without": {"object-store"}}),
    "import": PUBLIC,
    "lying": NAT,
    "strict": NAT,
}

Look = Callable[..., CloudReport]
#: It stands still, here and there; keystoneauth compares a token's end with the machine's clock.
NOW = time.time()


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSim]:
    with running(
        {"seed": 7, "ssh": {"enabled": False}, "clouds": {name: {"shape": name} for name in SHAPES}},
        lambda: NOW,
    ) as sim:
        yield sim


@pytest.fixture
def look(sim, tmp_path) -> Look:
    """The report on a cloud. `changes` go into its entry of clouds.yaml, `auth` into its credentials."""

    def report(
        name: str, *, limit: float = 20.0, auth: dict[str, Any] | None = None, **changes: Any
    ) -> CloudReport:
        entry = sim.clouds_yaml()["clouds"][name]
        entry = {**entry, **changes, "auth": {**entry["auth"], **(auth or {})}}
        file = tmp_path / "clouds.yaml"
        file.write_text(yaml.safe_dump({"clouds": {name: entry}}), encoding="utf-8")
        settings = load_clouds(paths=[str(file)], environ={}).get(name, None)
        options = {"retry": RetryPolicy(tries=1), "reachable_v6": True}
        with Connection(settings, clock=FakeClock(NOW), **options) as cloud:
            return cloud.show(limit=limit)

    return report


@contextmanager
def struck(sim: RunningSim, name: str, kind: str, *operations: str, **more: Any) -> Iterator[None]:
    """A cloud in which something goes wrong; afterwards all is well again."""
    far = sim.world.clouds[name]
    with far.lock:
        far.faults.add(Fault(kind=FaultKind(kind), operations=operations, **more))
    try:
        yield
    finally:
        with far.lock:
            far.faults.clear()


def reasons(report: CloudReport, *severities: Severity) -> set[str]:
    return {f.trouble.value for f in report.findings if not severities or f.severity in severities}


def one(report: CloudReport, trouble: Trouble) -> Any:
    """The only finding about `trouble`."""
    found = [finding for finding in report.findings if finding.trouble is trouble]
    assert len(found) == 1, report.findings
    return found[0]


# -- every shape -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_the_report_is_right_for_every_shape(look, shape):
    expected = EXPECTED[shape]
    report = look(shape)
    assert report.faults == {}
    assert report.could_launch, report.findings
    assert reasons(report, Severity.WARNS) == set()
    assert {name for name, facts in report.services.items() if facts is None} == set(expected.without)
    assert set(report.services) == SERVICES
    assert report.services["compute"].microversion == expected.microversion
    assert report.images.method == expected.upload
    servers = report.servers
    assert (servers.networks, servers.connect_to, servers.floating_ip) == (
        expected.networks,
        expected.connect_to,
        expected.need,
    )
    roles = {(n.name, role.role) for n in report.networks or () for role in n.roles}
    assert roles == expected.roles
    assert report.login.roles == ("member",)
    assert report.clock.skew == 0.0


def test_whatever_is_looked_at_nothing_is_made(sim, look):
    far = sim.world.clouds["nat"]
    before = dict(far.calls)
    look("nat")
    made = {operation for operation in far.calls if far.calls[operation] > before.get(operation, 0)}
    assert {operation.split(".")[1] for operation in made - {"identity.POST.tokens"}} == {"GET"}


def test_what_a_strict_cloud_hides_is_absent(look):
    report = look("strict")
    assert (report.zones, report.quotas) == (None, ())


def test_why_a_network_is_what_it_is(look):
    whys = {(n.name, r.role): r.why for n in look("nat").networks for r in n.roles}
    assert whys["ext-net", "external"] == "router:external"
    assert whys["ext-net", "nat-source"] == "the only router:external network"
    assert whys["private", "internal"] == "not router:external"
    assert whys["private", "nat-destination"] == "routed to ext-net by router private-router"
    said = {r.role: r.why for n in look("v6").networks for r in n.roles}
    assert "clouds.yaml:" in said["default-interface"]
    assert said["external"].endswith("(IPv6 only)")


# -- what goes wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "section", "blocks"),
    [
        ("compute.GET.flavors_detail", "flavors", True),
        ("compute.GET.os-availability-zone", "zones", False),
        ("compute.GET.os-keypairs", "key_pairs", False),
        ("compute.GET.limits", "quotas.compute", False),
        ("network.GET.networks", "topology", True),
        ("network.GET.security-groups", "security_groups", False),
        ("network.GET.extensions", "extensions", False),
        ("network.GET.quota_details", "quotas.network", False),
        ("block-storage.GET.limits", "quotas.block-storage", False),
        ("image.GET.info_import", "import_methods", False),
    ],
)
@pytest.mark.parametrize("kind", ["http-500", "garbage"])
def test_a_section_that_fails_is_told_and_no_other(sim, look, operation, section, blocks, kind):
    with struck(sim, "nat", kind, operation):
        report = look("nat")
    others = {"connect", "plan"} if section == "topology" else set()
    assert set(report.faults) - others == {section}
    assert report.could_launch is not blocks
    told = [finding for finding in report.findings if finding.section == section]
    assert len(told) == 1
    assert told[0].message.startswith("cloud nat: ")
    assert told[0].trouble is (Trouble.SERVICE_FAILS if kind == "http-500" else Trouble.WEB_PAGE)


@pytest.mark.parametrize("service", ["compute", "network", "image", "block-storage"])
def test_a_service_that_hangs_costs_its_own_sections_only(sim, look, service):
    with struck(sim, "lying", "hang", f"{service}.*"):
        report = look("lying", limit=1.0)
    others = {"compute", "network", "image", "block-storage"} - {service}
    assert all(report.services.get(name) for name in others)
    told = [finding for finding in report.findings if finding.trouble is Trouble.SILENT]
    assert {finding.section for finding in told} <= {
        f"services.{service}",
        "connect",
        "quotas." + service,
        "plan",
    }
    assert told


def test_without_a_login_nothing_else_is_asked(sim, look):
    before = sum(sim.world.clouds["nat"].calls.values())
    report = look("nat", auth={"password": "wrong"})
    assert sum(sim.world.clouds["nat"].calls.values()) - before <= 4
    assert not report.could_launch
    assert reasons(report, Severity.BLOCKS) == {"login-refused"}
    assert report.networks is None
    assert report.services == {}


def test_a_clock_that_is_wrong_is_told(sim, look):
    with struck(sim, "nat", "wrong-date", "identity.GET.discovery", seconds=-300.0):
        finding = one(look("nat"), Trouble.CLOCK_SKEW)
    assert finding.severity is Severity.WARNS
    assert "300 seconds behind" in finding.message


@pytest.mark.parametrize(
    ("quota", "resource"),
    [({"instances": 0}, "instances"), ({"ports": 0}, "ports"), ({"floating-ips": 0}, "floating-ips")],
)
def test_a_quota_that_is_used_up_stops_a_launch(quota, resource, tmp_path):
    with running(
        {"seed": 7, "ssh": {"enabled": False}, "clouds": {"nat": {"shape": "nat", "quota": quota}}}
    ) as sim:
        file = sim.write_clouds_yaml(tmp_path / "clouds.yaml")
        with connect("nat", paths=[str(file)], environ={}) as cloud:
            finding = one(cloud.show(), Trouble.QUOTA_FULL)
    assert finding.severity is Severity.BLOCKS
    assert resource in finding.message


def test_a_region_in_the_wrong_case_is_told_once(look):
    report = look("nat", region_name="regionone")
    finding = one(report, Trouble.REGION_UNKNOWN)
    assert "regions of the catalog: RegionOne" in finding.message
    assert not report.could_launch


@pytest.mark.parametrize("verify", [True, False])
def test_the_certificate_of_each_host_is_told(tmp_path, verify):
    config = {"seed": 7, "ssh": {"enabled": False}, "tls": "self-signed", "clouds": {"nat": {"shape": "nat"}}}
    with running(config) as sim:
        entry = {**sim.clouds_yaml()["clouds"]["nat"], **({} if verify else {"verify": False})}
        file = tmp_path / "clouds.yaml"
        file.write_text(yaml.safe_dump({"clouds": {"nat": entry}}), encoding="utf-8")
        with connect("nat", paths=[str(file)], environ={}) as cloud:
            report = cloud.show()
    assert report.faults == {}
    (facts,) = report.tls  # one host
    assert (facts.host, facts.protocol, facts.checked) == ("127.0.0.1", "TLSv1.3", verify)
    assert facts.names == (("127.0.0.1",) if verify else ())
    assert (facts.not_after is not None) is verify
    assert reasons(report) == (set() if verify else {"certificate-unchecked"})


# -- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def run(sim, tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(sim.write_clouds_yaml(tmp_path / "clouds.yaml")))

    def command(*arguments: str, code: int = 0) -> str:
        assert main.main(["cloud", "show", *arguments]) == code
        out, err = capsys.readouterr()
        assert err == ""
        return str(out)

    return command


def test_the_command_says_whether_servers_can_be_launched(sim, run):
    text = run("nat")
    assert text.startswith("cloud nat, region RegionOne: could launch here: yes\n")
    for words in (
        "nat-source",
        "needed: no public address; from ext-net",
        "2.69 of 2.1-2.93",
        "put: default",
    ):
        assert words in text
    assert "\x1b" not in text
    with struck(sim, "nat", "http-500", "compute.GET.flavors_detail"):
        text = run("nat", code=1)
    assert "could launch here: NO" in text.splitlines()[0]
    assert "[service-fails]" in text
    assert "operator finds the call by the request id" in " ".join(text.split())


def test_a_cloud_that_is_not_known_is_one_line(run, capsys):
    assert main.main(["cloud", "show", "nope"]) == 1
    assert "no cloud 'nope'" in capsys.readouterr().err


def in_document(value: Any, path: str = "") -> Iterator[str]:
    """Every place in a JSON document that has no others in it: `networks[].subnets[].cidr`."""
    if isinstance(value, list):
        for item in value:
            yield from in_document(item, f"{path}[]")
    elif isinstance(value, dict):
        for key, item in value.items():
            step = "NAME" if path in ("services", "faults") else key
            yield from in_document(item, f"{path}.{step}".lstrip("."))
    elif value is not None:  # a section that is not there
        yield path


def in_records(kind: Any, path: str = "") -> Iterator[str]:
    """The same of a record's type."""
    arguments = get_args(kind)
    if is_dataclass(kind):
        for name, hint in get_type_hints(kind).items():
            yield from in_records(hint, f"{path}.{name}".lstrip("."))
    elif get_origin(kind) is tuple:
        yield from in_records(arguments[0], f"{path}[]")
    elif get_origin(kind) in (Mapping, abc.Mapping):
        yield from in_records(arguments[1], f"{path}.NAME")
    elif type(None) in arguments:
        yield from in_records(arguments[0], path)
    else:
        yield path


def test_the_json_is_what_the_manual_says(sim, run):
    """Every name is described, and every name described can be there."""
    rows = (line.strip() for line in DOCUMENT.read_text(encoding="utf-8").splitlines())
    described = {row.split("``")[1] for row in rows if row.startswith("* - ``")}
    with struck(sim, "nat", "http-500", "compute.GET.os-keypairs", "compute.GET.flavors_detail"):
        broken = json.loads(run("nat", "--json", code=1))
    assert (broken["could_launch"], broken["key_pairs"]) == (False, None)
    assert set(broken["faults"]) == {"key_pairs", "flavors"}
    for document in (json.loads(run("nat", "--json")), json.loads(run("v6", "--json")), broken):
        assert set(in_document(document)) <= described
    finding = {f"findings[].{name}" for name in broken["findings"][0]}
    records = {path for path in in_records(CloudReport) if not path.startswith("findings")}
    assert described == records | finding | {"could_launch"}

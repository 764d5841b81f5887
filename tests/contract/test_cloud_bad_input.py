"""Bad input of every kind, over HTTP: exactly one message, that says of which cloud, what was asked, what came back,
and what to do.

Each row changes one thing: the pretend cloud, its entry in clouds.yaml, or what happens to a call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolmgr.cloud.library.connection import Connection
from poolmgr.cloud.openstack.retry import RetryPolicy
from poolmgr.config.clouds import load_clouds
from poolmgr.errors import (
    AuthFailed,
    CloudUnavailable,
    ConfigError,
    ImageGone,
    NotFound,
    PoolmgrError,
    Rejected,
)
from poolmgr.model.cloud_report import Severity
from poolmgr.model.trouble import Trouble
from poolmgr.simcloud.server import RunningSim, running
from tests.fakes import FakeClock

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl one@example"
OTHER_KEY = KEY.replace("AAAAIOMq", "AAAAIOMr")
NETWORKS = [
    {"name": "ext-net", "v4": "floating", "external": True, "pluggable": False},
    {"name": "private", "v4": "private", "routed_to": "ext-net"},
]
TWO_OUTSIDE = [
    {"name": "ext-a", "v4": "floating", "external": True, "pluggable": False},
    {"name": "ext-b", "v4": "floating", "external": True, "pluggable": False},
    {"name": "private", "v4": "private"},
]

Act = Callable[[Connection], object]


def ready(cloud: Connection) -> None:
    """What a launcher does first."""
    cloud.info()
    cloud.flavors()


def servers(cloud: Connection) -> None:
    cloud.list_servers(all=True)


def create(**more: Any) -> Act:
    plain = {"image": "debian-12", "flavor": "small", **more}
    return lambda cloud: cloud.create_server("web", **plain)


def fault(kind: str, *operations: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "operations": list(operations), **more}


@dataclass(frozen=True, kw_only=True)
class Case:
    """`asked` and `came` are in the message; both may be parts. `{sim}` in `entry` stands for simcloud's URL."""

    name: str
    leaf: type[PoolmgrError]
    trouble: Trouble
    asked: str
    came: str
    act: Act = ready
    cloud: Mapping[str, Any] = field(default_factory=dict)  # of simcloud's configuration
    sim: Mapping[str, Any] = field(default_factory=dict)
    auth: Mapping[str, Any] = field(default_factory=dict)  # in clouds.yaml
    entry: Mapping[str, Any] = field(default_factory=dict)


def refused_login(name: str, came: str = "401 Unauthorized", **auth: Any) -> Case:
    return Case(
        name=name,
        leaf=AuthFailed,
        trouble=Trouble.LOGIN_REFUSED,
        asked="identity: POST /cloud-north/identity/v3/auth/tokens at 127.0.0.1",
        came=came,
        auth=auth,
    )


def wrong_auth_url(name: str, path: str, came: str, leaf: type[PoolmgrError] = AuthFailed) -> Case:
    return Case(
        name=name,
        leaf=leaf,
        trouble=Trouble.WRONG_AUTH_URL,
        asked=f"identity: {'POST' if came.startswith('404') else 'login'} {path}",
        came=came,
        auth={"auth_url": f"{{sim}}{path}"},
    )


def no_answer(name: str, trouble: Trouble, url: str, came: str, **more: Any) -> Case:
    """The Identity service cannot be talked to."""
    asked = f"identity: login /v3 at {url.partition('://')[2].partition('/')[0]}"
    return Case(
        name=name,
        leaf=CloudUnavailable,
        trouble=trouble,
        asked=asked,
        came=came,
        auth={"auth_url": url},
        **more,
    )


CASES = (
    # -- logging in
    refused_login("wrong password", password="wrong"),
    refused_login("project that does not exist", project_name="nope"),
    refused_login("user domain that does not exist", user_domain_name="nope"),
    Case(
        name="user without a role in the project",
        leaf=AuthFailed,
        trouble=Trouble.LOGIN_REFUSED,
        asked="identity: POST /cloud-north/identity/v3/auth/tokens",
        came="401 Unauthorized: User ci has no access to project ci",
        cloud={
            "faults": [
                fault(
                    "refuse",
                    "identity.POST.tokens",
                    status=401,
                    message="User ci has no access to project ci",
                )
            ]
        },
    ),
    Case(
        name="account that is locked",
        leaf=AuthFailed,
        trouble=Trouble.LOGIN_FORBIDDEN,
        asked="identity: POST /cloud-north/identity/v3/auth/tokens",
        came="403 Forbidden: The account is locked",
        cloud={
            "faults": [fault("refuse", "identity.POST.tokens", status=403, message="The account is locked")]
        },
    ),
    Case(
        name="token that has ended",
        leaf=AuthFailed,
        trouble=Trouble.TOKEN_ENDED,
        asked="identity: POST /cloud-north/identity/v3/auth/tokens",
        came="401 Unauthorized",
        entry={
            "auth_type": "v3token",
            "allow_unrenewable_auth": True,
            "auth": {"token": "long-gone", "project_name": "ci", "project_domain_name": "Default"},
        },
    ),
    Case(
        name="token that a service does not accept",
        leaf=AuthFailed,
        trouble=Trouble.TOKEN_REFUSED,
        asked="compute: GET /cloud-north/compute/v2.1/flavors/detail",
        came="401",
        cloud={"faults": [fault("refuse", "compute.GET.flavors_detail", status=401, message="Unauthorized")]},
    ),
    Case(
        name="login without the role that a call needs",
        leaf=AuthFailed,
        trouble=Trouble.NO_ROLE,
        asked="compute: GET /cloud-north/compute/v2.1/flavors/detail",
        came="403 forbidden: Policy doesn't allow",
        cloud={"faults": [fault("policy", "compute.GET.flavors_detail")]},
    ),
    # -- the URL of the Identity service
    wrong_auth_url(
        "version 2 of a cloud that has version 3",
        "/cloud-north/identity/v2.0",
        "version 2, which has no domains, and user_domain_name, project_domain_name is given",
        ConfigError,
    ),
    wrong_auth_url("wrong path of the Identity service", "/cloud-north/nothing/v3", "404"),
    wrong_auth_url("URL that is not the Identity service's", "/cloud-north/image/v3", "404"),
    wrong_auth_url("document that names no version", "/_sim/", "names no version of the Identity API"),
    no_answer("unknown host", Trouble.UNKNOWN_HOST, "https://cloud.invalid/v3", "the host name is not known"),
    no_answer(
        "connection refused", Trouble.CONNECTION_REFUSED, "http://127.0.0.1:1/v3", "connection refused"
    ),
    Case(
        name="URL without a host",
        leaf=ConfigError,
        trouble=Trouble.BAD_URL,
        asked="identity: auth_url https:///v3",
        came="no URL of a service",
        auth={"auth_url": "https:///v3"},
    ),
    Case(
        name="Identity service that hangs",
        leaf=CloudUnavailable,
        trouble=Trouble.SILENT,
        asked="identity: login /cloud-north/identity/v3",
        came="no answer in time",
        cloud={"faults": [fault("hang", "identity.POST.tokens")]},
    ),
    # -- TLS
    Case(
        name="https where the service speaks http",
        leaf=CloudUnavailable,
        trouble=Trouble.PLAIN_HTTP,
        asked="identity: login /v3",
        came="what came back is no TLS",
        auth={"auth_url": "{bare}/v3"},
    ),
    Case(
        name="http where the service speaks https",
        leaf=CloudUnavailable,
        trouble=Trouble.CUT_OFF,
        asked="identity: login /cloud-north/identity/v3",
        came="the connection was cut off",
        sim={"tls": "self-signed"},
        auth={"auth_url": "{plain}/cloud-north/identity/v3"},
    ),
    Case(
        name="certificate that nobody vouches for",
        leaf=CloudUnavailable,
        trouble=Trouble.UNTRUSTED_CERTIFICATE,
        asked="identity: login /cloud-north/identity/v3",
        came="the certificate: self-signed certificate",
        sim={"tls": "self-signed"},
        entry={"cacert": None},
    ),
    Case(
        name="certificate of another host",
        leaf=CloudUnavailable,
        trouble=Trouble.CERTIFICATE_OF_ANOTHER_HOST,
        asked="identity: login /cloud-north/identity/v3",
        came="certificate is not valid for '127.0.0.1'",
        sim={"tls": "other-host"},
    ),
    Case(
        name="certificate that has ended",
        leaf=CloudUnavailable,
        trouble=Trouble.EXPIRED_CERTIFICATE,
        asked="identity: login /cloud-north/identity/v3",
        came="certificate has expired",
        sim={"tls": "expired"},
    ),
    Case(
        name="cacert that is no certificate",
        leaf=CloudUnavailable,
        trouble=Trouble.BAD_CERTIFICATE_FILE,
        asked="identity: login /cloud-north/identity/v3",
        came="no certificate or crl found",
        sim={"tls": "self-signed"},
        entry={"cacert": __file__},
    ),
    # -- finding services
    Case(
        name="region in the wrong case",
        leaf=ConfigError,
        trouble=Trouble.REGION_UNKNOWN,
        asked="no compute service in region regionone",
        came="regions of the catalog: RegionOne",
        entry={"region_name": "regionone"},
    ),
    Case(
        name="interface that the cloud does not have",
        leaf=ConfigError,
        trouble=Trouble.SERVICE_MISSING,
        asked="no compute service in region RegionOne with interface admin",
        came="the catalog has its internal, public",
        entry={"interface": "admin"},
    ),
    Case(
        name="service that the cloud does not have",
        leaf=ConfigError,
        trouble=Trouble.SERVICE_MISSING,
        asked="no compute service",
        came="not in the catalog",
        cloud={"without": ["compute"]},
    ),
    Case(
        name="service that clouds.yaml denies",
        leaf=ConfigError,
        trouble=Trouble.SERVICE_DENIED,
        asked="no compute service",
        came="has_compute is false",
        entry={"has_compute": False},
    ),
    Case(
        name="endpoint of another service",
        leaf=NotFound,
        trouble=Trouble.WRONG_ENDPOINT,
        asked="compute: GET /cloud-north/image/v2/flavors/detail",
        came="404",
        entry={"compute_endpoint_override": "{sim}/cloud-north/image/v2"},
    ),
    Case(
        name="endpoint that answers HTML",
        leaf=CloudUnavailable,
        trouble=Trouble.WEB_PAGE,
        asked="compute: GET /cloud-north/compute/v2.1/flavors/detail",
        came='200 with a web page "Maintenance"',
        cloud={"faults": [fault("garbage", "compute.GET.flavors_detail")]},
    ),
    Case(
        name="version document that is HTML",
        leaf=CloudUnavailable,
        trouble=Trouble.WEB_PAGE,
        asked="compute: GET /cloud-north/compute/v2.1/",
        came='200 with a web page "Maintenance"',
        cloud={"faults": [fault("garbage", "compute.GET.discovery")]},
    ),
    Case(
        name="microversion that is not offered",
        leaf=ConfigError,
        trouble=Trouble.MICROVERSION_NOT_OFFERED,
        asked="compute: microversion 2.99",
        came="offered: 2.1 to 2.93",
        entry={"compute_default_microversion": "2.99"},
    ),
    Case(
        name="microversion of a service without version documents",
        leaf=ConfigError,
        trouble=Trouble.MICROVERSION_NOT_OFFERED,
        asked="compute: microversion 2.60 is asked for",
        came="tells of none",
        entry={"compute_default_microversion": "2.60"},
        cloud={"faults": [fault("missing", "compute.GET.discovery")]},
    ),
    Case(
        name="version that is offered and refused",
        leaf=Rejected,
        trouble=Trouble.VERSION_REFUSED,
        asked="compute: GET /cloud-north/compute/v2.1/flavors/detail",
        came="406 computeFault: Version 2.67 is not supported by the API",
        cloud={
            "faults": [
                fault(
                    "refuse",
                    "compute.GET.flavors_detail",
                    status=406,
                    message="Version 2.67 is not supported by the API.",
                )
            ]
        },
    ),
    Case(
        name="version that is offered and not there",
        leaf=NotFound,
        trouble=Trouble.WRONG_ENDPOINT,
        asked="compute: GET /cloud-north/compute/v2.1/flavors/detail",
        came="404",
        cloud={"faults": [fault("missing", "compute.GET.flavors_detail")]},
    ),
    # -- answers
    Case(
        name="service in trouble",
        leaf=CloudUnavailable,
        trouble=Trouble.SERVICE_FAILS,
        asked="network: GET /cloud-north/network/v2.0/networks",
        came="500 HTTPInternalServerError: ",
        cloud={"faults": [fault("http-500", "network.GET.networks")]},
    ),
    Case(
        name="proxy that cuts connections in the middle",
        leaf=CloudUnavailable,
        trouble=Trouble.CUT_OFF,
        asked="compute: GET /cloud-north/compute/v2.1/flavors/detail",
        came="the connection was cut off",
        cloud={"faults": [fault("cut", "compute.GET.flavors_detail")]},
    ),
    Case(
        name="redirect to another host",
        leaf=Rejected,
        trouble=Trouble.STRANGE_REDIRECT,
        asked="compute: GET /cloud-north/compute/v2.1/flavors/detail",
        came="it redirects to http://other.example, which was not followed",
        cloud={"faults": [fault("redirect", "compute.GET.flavors_detail", message="http://other.example/")]},
    ),
    Case(
        name="list with a page that fails",
        leaf=CloudUnavailable,
        trouble=Trouble.LIST_CUT_SHORT,
        asked="compute: the list of flavors",
        came="breaks off after 2: cloud north: compute: GET",
        cloud={"page_size": 2, "faults": [fault("http-500", "compute.GET.flavors_detail", skip=1)]},
    ),
    Case(
        name="list that goes in circles",
        leaf=CloudUnavailable,
        trouble=Trouble.LIST_CUT_SHORT,
        asked="compute: the list of flavors",
        came="links back to an earlier page",
        cloud={"page_size": 1, "faults": [fault("repeated-page", "compute.GET.flavors_detail")]},
    ),
    # -- networks
    Case(
        name="project without a network",
        leaf=Rejected,
        trouble=Trouble.NO_NETWORK,
        asked="network that a server can be attached to",
        came="the project has no",
        act=create(),
        cloud={"networks": NETWORKS[:1]},
    ),
    Case(
        name="several networks",
        leaf=Rejected,
        trouble=Trouble.SEVERAL_NETWORKS,
        asked="servers could be attached to",
        came="several networks: one (",
        act=create(),
        cloud={"networks": [{"name": "one", "v4": "private"}, {"name": "two", "v4": "public"}]},
    ),
    Case(
        name="two external networks",
        leaf=ConfigError,
        trouble=Trouble.SEVERAL_NAT_SOURCES,
        asked="the source of floating IPs",
        came="several networks could be the source of floating IPs: ext-a (",
        cloud={"networks": TWO_OUTSIDE},
        entry={"requires_floating_ip": True},
    ),
    Case(
        name="two external networks, when a server wants a floating IP",
        leaf=Rejected,
        trouble=Trouble.SEVERAL_NAT_SOURCES,
        asked="a floating IP is needed",
        came="several networks could be the source of floating IPs: ext-a (",
        act=create(),
        cloud={"networks": TWO_OUTSIDE},
    ),
    Case(
        name="network that does not exist",
        leaf=Rejected,
        trouble=Trouble.NETWORK_UNKNOWN,
        asked="network privat: not found",
        came="networks of the project: ext-net, private",
        act=create(networks=["privat"]),
        cloud={"networks": NETWORKS},
    ),
    Case(
        name="network of clouds.yaml that does not exist",
        leaf=ConfigError,
        trouble=Trouble.NETWORK_UNKNOWN,
        asked="network inside: not found",
        came="networks of the project: ext-net, private",
        entry={"networks": [{"name": "inside", "default_interface": True}]},
        cloud={"networks": NETWORKS},
    ),
    Case(
        name="network name of several",
        leaf=Rejected,
        trouble=Trouble.NETWORK_AMBIGUOUS,
        asked="network lan",
        came="several have this name: ",
        act=create(networks=["lan"]),
        cloud={"networks": [{"name": "lan", "v4": "private"}, {"name": "lan", "v4": "public"}]},
    ),
    Case(
        name="network without a subnet",
        leaf=Rejected,
        trouble=Trouble.NETWORK_WITHOUT_SUBNET,
        asked="network bare (",
        came="it has no subnet",
        act=create(networks=["bare"]),
        cloud={"networks": [*NETWORKS, {"name": "bare"}]},
    ),
    Case(
        name="network that is switched off",
        leaf=Rejected,
        trouble=Trouble.NETWORK_DOWN,
        asked="network dark",
        came="admin_state_up is false",
        act=create(networks=["dark"]),
        cloud={"networks": [*NETWORKS, {"name": "dark", "v4": "private", "admin_state_up": False}]},
    ),
    # -- what a server is made of
    Case(
        name="flavor that does not exist",
        leaf=Rejected,
        trouble=Trouble.FLAVOR_UNKNOWN,
        asked="no flavor smal",
        came="it has large, medium, small, xlarge",
        act=create(flavor="smal"),
    ),
    Case(
        name="flavor name of several",
        leaf=Rejected,
        trouble=Trouble.FLAVOR_AMBIGUOUS,
        asked="flavor small",
        came="several have this name: ",
        act=create(),
        cloud={"flavors": [{"name": "small", "vcpus": n, "ram": 2048} for n in (1, 2)]},
    ),
    Case(
        name="image that does not exist",
        leaf=Rejected,
        trouble=Trouble.IMAGE_UNKNOWN,
        asked="no active image debian",
        came="debian",
        act=create(image="debian"),
    ),
    Case(
        name="image name of several",
        leaf=Rejected,
        trouble=Trouble.IMAGE_AMBIGUOUS,
        asked="image debian-12",
        came="several active ones have this name: ",
        act=create(),
        cloud={"images": ["debian-12", "debian-12"]},
    ),
    Case(
        name="image that is deleted while the server boots",
        leaf=ImageGone,
        trouble=Trouble.IMAGE_GONE,
        asked="server web",
        came="Image 70a599e0-31e7-49b7-b260-868f441e862b could not be found",
        act=create(),
        cloud={
            "faults": [
                fault(
                    "error-server",
                    "compute.POST.servers",
                    message="Image 70a599e0-31e7-49b7-b260-868f441e862b could not be found.",
                )
            ]
        },
    ),
    Case(
        name="security group that does not exist",
        leaf=Rejected,
        trouble=Trouble.GROUP_UNKNOWN,
        asked="security group webb: not found",
        came="groups of the project: default, web",
        act=create(security_groups=["webb"]),
        cloud={"security_groups": ["web"]},
    ),
    Case(
        name="security group name of several",
        leaf=Rejected,
        trouble=Trouble.GROUP_AMBIGUOUS,
        asked="security group web",
        came="several have this name: ",
        act=create(security_groups=["web"]),
        cloud={"security_groups": ["web", "web"]},
    ),
    Case(
        name="key pair that holds another key",
        leaf=ConfigError,
        trouble=Trouble.KEY_PAIR_DIFFERS,
        asked="key pair infra",
        came="the login has another key of this name",
        act=create(key_name="infra", key_file="key.pub"),
        cloud={"keypairs": {"infra": OTHER_KEY}},
    ),
    Case(
        name="key pair that does not exist",
        leaf=Rejected,
        trouble=Trouble.NAME_UNKNOWN,
        asked="compute: POST /cloud-north/compute/v2.1/servers",
        came="400 badRequest: Invalid key_name provided",
        act=create(key_name="infra"),
    ),
)


@contextmanager
def connected(case: Case, directory: Path, bare: str) -> Iterator[tuple[RunningSim, Connection]]:
    """The cloud of a case and a connection to it. Its time is ours, and passes only when somebody waits."""
    clock = FakeClock(time.time())
    cloud = {"shape": "nat", "boot": 1.0, **case.cloud}
    config = {"seed": 7, "ssh": {"enabled": False}, **case.sim, "clouds": {"north": cloud}}
    with running(config, clock.time) as sim, connection_to(case, sim, directory, bare, clock) as connection:
        (directory / "key.pub").write_text(KEY, encoding="utf-8")
        yield sim, connection


def connection_to(
    case: Case, sim: RunningSim, directory: Path, bare: str, clock: FakeClock | None = None
) -> Connection:
    file = directory / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"north": entry_of(case, sim, bare)}}), encoding="utf-8")
    settings = load_clouds(paths=[str(file)], environ={}).get("north", None)
    options = {"timeouts": (2.0, 1.0), "retry": RetryPolicy(tries=1), "reachable_v6": False}
    return Connection(settings, clock=clock or FakeClock(time.time()), **options)


@pytest.fixture(scope="module")
def bare() -> Iterator[str]:
    """Host and port of a web server without TLS, which says so to who begins with it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    with quiet(server):
        yield f"127.0.0.1:{server.server_address[1]}"


@contextmanager
def quiet(server: ThreadingHTTPServer) -> Iterator[None]:
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def entry_of(case: Case, sim: RunningSim, bare: str) -> dict[str, Any]:
    right = sim.clouds_yaml()["clouds"]["north"]
    address = sim.url.partition("://")[2]
    words = {"{sim}": sim.url, "{bare}": f"https://{bare}", "{plain}": f"http://{address}"}

    def filled(value: Any) -> Any:
        for word, url in words.items():
            value = value.replace(word, url) if isinstance(value, str) else value
        return value

    entry = {**right, **{key: filled(value) for key, value in case.entry.items()}}
    base = right["auth"] if "auth" not in case.entry else {"auth_url": right["auth"]["auth_url"]}
    entry["auth"] = {**base, **case.entry.get("auth", {}), **{k: filled(v) for k, v in case.auth.items()}}
    return {key: value for key, value in entry.items() if value is not None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_bad_input_gives_one_message_that_helps(case, bare, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    caplog.set_level(logging.WARNING)
    with connected(case, tmp_path, bare) as (_, cloud), pytest.raises(case.leaf) as caught:
        case.act(cloud)
    error = caught.value
    text = str(error)
    assert text.startswith("cloud north: "), text
    assert case.asked in text, text
    assert case.came in text, text
    assert text.endswith(f"; {case.trouble.remedy}"), text
    assert error.reason == case.trouble.value
    assert error.message + "; " + error.remedy == text
    assert "\n" not in text
    assert "secret" not in text
    assert [record.getMessage() for record in caplog.records] == []


AFTER_LOGIN = [case for case in CASES if case.act is ready and not case.asked.startswith("identity")]


@pytest.mark.parametrize("case", AFTER_LOGIN, ids=lambda case: case.name.replace(" ", "-"))
def test_the_doctor_tells_the_same_once(case, bare, tmp_path):
    with connected(case, tmp_path, bare) as (_, cloud):
        report = cloud.show(limit=10.0)
    found = [finding for finding in report.findings if finding.trouble is case.trouble]
    assert len(found) == 1, report.findings
    assert found[0].severity is Severity.BLOCKS
    assert case.came in found[0].message
    assert not report.could_launch


def case_of(**more: Any) -> Case:
    plain = {"name": "", "leaf": PoolmgrError, "trouble": Trouble.SILENT, "asked": "", "came": ""}
    return Case(**{**plain, **more})


def test_a_given_token_that_ends_is_told_at_the_next_call(bare, tmp_path):
    with connected(case_of(), tmp_path, bare) as (sim, cloud):
        ready(cloud)
        far = sim.world.clouds["north"]
        with far.lock:
            token = next(iter(far.identity.tokens()))
        entry = {"auth_type": "v3token", "allow_unrenewable_auth": True}
        scope = {"project_name": "ci", "project_domain_name": "Default"}
        given = case_of(entry={**entry, "auth": {"token": token, **scope}})
        with connection_to(given, sim, tmp_path, bare) as short:
            ready(short)
            with far.lock:
                far.identity.revoke_all()
            with pytest.raises(AuthFailed) as caught:
                servers(short)
    assert caught.value.reason == Trouble.TOKEN_ENDED.value
    assert str(caught.value).startswith("cloud north: identity: POST /cloud-north/identity/v3/auth/tokens")


def test_a_service_without_version_documents_is_used_as_the_catalog_has_it(bare, tmp_path):
    gone = [fault("missing", f"{service}.GET.discovery") for service in ("compute", "network", "image")]
    with connected(case_of(cloud={"faults": gone}), tmp_path, bare) as (_, cloud):
        server = cloud.create_server("web", image="debian-12", flavor="small")
    assert server.addresses.floating_v4


def test_the_doctor_knows_a_wrong_project_from_a_wrong_password(bare, tmp_path):
    for auth, trouble in (
        ({"project_name": "nope"}, Trouble.PROJECT_REFUSED),
        ({"password": "wrong"}, Trouble.LOGIN_REFUSED),
    ):
        with connected(case_of(auth=auth), tmp_path, bare) as (_, cloud):
            findings = cloud.show(limit=10.0).findings
        assert [finding.trouble for finding in findings] == [trouble]
    with connected(case_of(auth={"project_name": "nope"}), tmp_path, bare) as (_, cloud):
        assert "not for project nope: it may use ci" in cloud.show(limit=10.0).findings[0].message

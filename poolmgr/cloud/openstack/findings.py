"""What the survey of a cloud means: findings, each with its severity and its trouble. Pure.

Each rule is a function of the case; `RULES` has them in the order in which they are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from poolmgr.cloud.openstack.survey import Survey
from poolmgr.config.settings import CloudSettings, NetworkApi
from poolmgr.errors import PoolmgrError
from poolmgr.model.cloud_report import (
    ClockFacts,
    Finding,
    FloatingIpNeed,
    ImageFacts,
    NetworkFacts,
    ServerFacts,
    Severity,
)
from poolmgr.model.trouble import Trouble

SKEW = 60.0  # seconds that two clocks may differ
SHORT_TOKEN = 600.0  # seconds; logging in is slow and often limited
CERTIFICATE_ENDS = 14 * 86400.0  # seconds before its end at which somebody should know

LOOPBACK = ("127.", "::1", "localhost")

#: Sections without which nothing can be launched; of the others some are only not told.
NEEDED = frozenset(
    {"login", "services.compute", "services.network", "services.image", "topology", "flavors", "connect"}
)
#: Sections that talk to the Identity service too.
_BEFORE_LOGIN = ("clock", "projects")
#: A section says nothing new when that of its service is in trouble.
_OF_SERVICE = {
    "flavors": "compute",
    "zones": "compute",
    "key_pairs": "compute",
    "quotas.compute": "compute",
    "topology": "network",
    "extensions": "network",
    "security_groups": "network",
    "quotas.network": "network",
    "import_methods": "image",
    "quotas.block-storage": "block-storage",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is judged. `now` is epoch seconds."""

    settings: CloudSettings
    region: str | None
    survey: Survey
    now: float
    networks: tuple[NetworkFacts, ...] | None
    servers: ServerFacts | None
    images: ImageFacts | None
    clock: ClockFacts | None = None
    no_choice: PoolmgrError | None = None  # why none can be chosen for servers that name no network

    def finding(self, severity: Severity, trouble: Trouble, section: str, message: str) -> Finding:
        where = f"cloud {self.settings.name}"
        return Finding(severity=severity, trouble=trouble, section=section, message=f"{where}: {message}")

    def told(self, reason: str) -> bool:
        """Whether a section that failed says that already."""
        return any(fault.reason == reason for fault in self.survey.faults.values())


Rule = Callable[[Case], Iterator[Finding]]


def _failed_sections(case: Case) -> Iterator[Finding]:
    """Each cause once: of several sections the one without which nothing goes."""
    faults = case.survey.faults
    told: set[object] = set()
    for section in sorted(_not_explained(case), key=lambda name: name not in NEEDED):
        fault = faults[section]
        causes = {fault.message, (_OF_SERVICE.get(section, section), fault.reason)}
        if causes & told:
            continue
        told |= causes
        severity = Severity.BLOCKS if section in NEEDED else Severity.WARNS
        trouble = Trouble.of(fault.reason) or Trouble.CALL_REFUSED
        yield Finding(severity=severity, trouble=trouble, section=section, message=fault.message)


def _not_explained(case: Case) -> Iterator[str]:
    """The sections that failed, without those that do where another has."""
    faults = case.survey.faults
    for section in faults:
        by_login = section in _BEFORE_LOGIN and "login" in faults
        by_service = f"services.{_OF_SERVICE.get(section)}" in faults
        by_projects = section == "login" and case.survey.projects is not None  # which say more
        if not (by_login or by_service or by_projects):
            yield section


def _login(case: Case) -> Iterator[Finding]:
    login, projects = case.survey.login, case.survey.projects
    if login is None and projects is not None:
        wanted = case.settings.auth.get("project_name") or case.settings.auth.get("project_id")
        may = f"it may use {', '.join(projects)}" if projects else "it may use none"
        message = f"the login is right, but not for project {wanted}: {may}"
        yield case.finding(Severity.BLOCKS, Trouble.PROJECT_REFUSED, "login", message)
    if login is None:
        return
    if "admin" in login.roles:
        message = f"user {login.user} has the role admin"
        yield case.finding(Severity.WARNS, Trouble.ADMIN_LOGIN, "login", message)
    if login.roles and set(login.roles) <= {"reader"}:
        message = f"user {login.user} has only the role reader in project {login.project}"
        yield case.finding(Severity.WARNS, Trouble.NO_ROLE, "login", message)
    if login.expires_at is None:
        return
    if not login.renewable:
        left = login.expires_at - case.now
        message = f"auth_type {login.auth_type}: the login ends in {left / 3600:.1f} hours"
        yield case.finding(Severity.WARNS, Trouble.TOKEN_ENDED, "login", message)
    if login.issued_at is not None and login.expires_at - login.issued_at < SHORT_TOKEN:
        message = f"tokens live {login.expires_at - login.issued_at:.0f} seconds"
        yield case.finding(Severity.WARNS, Trouble.SHORT_TOKENS, "login", message)


def _clock(case: Case) -> Iterator[Finding]:
    clock = case.clock
    if clock is not None and abs(clock.skew) > SKEW:
        side = "ahead of" if clock.skew > 0 else "behind"
        message = f"its clock is {abs(clock.skew):.0f} seconds {side} this machine's"
        yield case.finding(Severity.WARNS, Trouble.CLOCK_SKEW, "clock", message)


def _tls(case: Case) -> Iterator[Finding]:
    for facts in case.survey.tls or ():
        where = f"{facts.host}:{facts.port}"
        if not facts.protocol:
            if not facts.host.startswith(LOOPBACK):
                message = f"{where} is talked to without TLS, password and tokens included"
                yield case.finding(Severity.WARNS, Trouble.UNENCRYPTED, "tls", message)
        elif not facts.checked:
            message = f"the certificate of {where} is not checked"
            yield case.finding(Severity.WARNS, Trouble.CERTIFICATE_UNCHECKED, "tls", message)
        elif facts.not_after is not None and facts.not_after - case.now < CERTIFICATE_ENDS:
            days = (facts.not_after - case.now) / 86400
            message = f"the certificate of {where} ends in {days:.1f} days"
            yield case.finding(Severity.WARNS, Trouble.CERTIFICATE_ENDS, "tls", message)


def _services(case: Case) -> Iterator[Finding]:
    services = case.survey.services
    missing = [name for name, facts in services.items() if facts is None]
    if len(missing) == len(services):
        return  # why there is not even a Compute service is told already
    if "image" in missing:
        message = "no image service: no image can be found by name, nor uploaded"
        yield case.finding(Severity.BLOCKS, Trouble.SERVICE_MISSING, "services", message)
    if "network" in missing:
        message = "no network service: the Compute service gives servers their addresses"
        yield case.finding(Severity.NOTE, Trouble.NO_NETWORK_SERVICE, "services", message)
    if "block-storage" in missing:
        message = "no block storage service"
        yield case.finding(Severity.NOTE, Trouble.NO_VOLUMES, "services", message)


def _flavors(case: Case) -> Iterator[Finding]:
    flavors = case.survey.flavors
    if flavors is None:
        return
    if not flavors:
        message = "the project sees no flavor"
        yield case.finding(Severity.BLOCKS, Trouble.NO_FLAVORS, "flavors", message)
    elif not any(flavor.disk_gib for flavor in flavors):
        volumes = case.survey.services.get("block-storage") is not None
        severity = Severity.WARNS if volumes else Severity.BLOCKS
        message = f"none of the {len(flavors)} flavors has a disk"
        yield case.finding(severity, Trouble.ONLY_DISKLESS, "flavors", message)


def _zones(case: Case) -> Iterator[Finding]:
    zones = case.survey.zones or ()
    down = [zone.name for zone in zones if not zone.available]
    if down:
        severity = Severity.BLOCKS if len(down) == len(zones) else Severity.WARNS
        message = f"not available: zone {', '.join(down)}"
        yield case.finding(severity, Trouble.ZONE_DOWN, "zones", message)


def _networks(case: Case) -> Iterator[Finding]:
    error = case.no_choice
    if error is not None and not case.told(error.reason):
        trouble = Trouble.of(error.reason) or Trouble.NO_NETWORK
        severity = Severity.WARNS if trouble is Trouble.SEVERAL_NETWORKS else Severity.BLOCKS
        yield case.finding(severity, trouble, "networks", error.message)
    for network in case.networks or ():
        if not network.subnets and network.floating_ip is FloatingIpNeed.UNKNOWN and network.admin_up:
            message = f"network {network.name} ({network.id}) has no subnet"
            yield case.finding(Severity.NOTE, Trouble.NETWORK_WITHOUT_SUBNET, "networks", message)
    names = [network.name for network in case.networks or ()]
    for name in sorted({name for name in names if names.count(name) > 1}):
        ids = ", ".join(n.id for n in case.networks or () if n.name == name)
        message = f"several networks are called {name}: {ids}"
        yield case.finding(Severity.NOTE, Trouble.NETWORK_AMBIGUOUS, "networks", message)


def _floating_ips(case: Case) -> Iterator[Finding]:
    """Servers need some, and cannot have them as things are."""
    servers, plan = case.servers, case.survey.plan
    refused = [n.name for n in case.networks or () if n.floating_ip is FloatingIpNeed.IMPOSSIBLE]
    if servers is None or not refused:
        return
    problem = plan.problem if plan else None
    trouble = problem.trouble if problem else Trouble.NO_NAT_SOURCE
    if case.told(trouble.value):
        return
    if servers.floating_ip is FloatingIpNeed.IMPOSSIBLE:
        yield case.finding(Severity.BLOCKS, trouble, "servers", servers.floating_ip_why)
    elif not servers.networks:
        message = f"on network {', '.join(refused)} {problem.message if problem else 'none can be had'}"
        yield case.finding(Severity.WARNS, trouble, "servers", message)


def _addresses(case: Case) -> Iterator[Finding]:
    servers = case.servers
    if servers is None or servers.floating_ip is FloatingIpNeed.IMPOSSIBLE:
        return
    if servers.ipv4 is False and servers.ipv6 and not servers.own_ipv6_route:
        message = "servers get only IPv6 addresses, and this machine has no route for IPv6"
        yield case.finding(Severity.BLOCKS, Trouble.NO_IPV6_ROUTE, "servers", message)
    elif servers.connect_to.startswith("private") and not case.settings.private:
        message = "servers get only private addresses"
        yield case.finding(Severity.WARNS, Trouble.PRIVATE_ONLY, "servers", message)


def _groups(case: Case) -> Iterator[Finding]:
    groups = case.survey.security_groups
    if not groups or case.settings.secgroup_source is not NetworkApi.NEUTRON:
        return
    default = [group for group in groups if group.name == "default"]
    if not default or default[0].ssh is not False:
        return
    open_ones = [group.name for group in groups if group.ssh]
    others = f" ({', '.join(open_ones)} does)" if open_ones else ""
    message = f"security group default lets no SSH in{others}"
    yield case.finding(Severity.WARNS, Trouble.SSH_CLOSED, "security_groups", message)


def _quotas(case: Case) -> Iterator[Finding]:
    needs = _least_needs(case)
    for quota in case.survey.quotas or ():
        need = needs.get((quota.service, quota.resource))
        if need is None or quota.limit is None or quota.limit - (quota.used or 0) >= need:
            continue
        used = (
            f"{quota.used:g} of {quota.limit:g} {quota.resource} in use"
            if quota.used is not None
            else f"a limit of {quota.limit:g} {quota.resource}"
        )
        message = f"quota of {quota.service}: {used}, a server needs {need:g}"
        yield case.finding(Severity.BLOCKS, Trouble.QUOTA_FULL, "quotas", message)


def _least_needs(case: Case) -> Mapping[tuple[str, str], float]:
    """What the smallest server takes of each quota."""
    flavors = case.survey.flavors or ()
    needs: dict[tuple[str, str], float] = {
        ("compute", "instances"): 1,
        ("compute", "cores"): min((flavor.vcpus for flavor in flavors), default=1),
        ("compute", "ram"): min((flavor.ram_mib for flavor in flavors), default=1),
        ("network", "ports"): 1,
    }
    if case.servers and case.servers.floating_ip is FloatingIpNeed.NEEDED:
        needs["network", "floating-ips"] = 1
    return needs


def _uploads(case: Case) -> Iterator[Finding]:
    if case.images is not None and not case.images.method:
        message = f"images cannot be uploaded: {case.images.why}"
        yield case.finding(Severity.WARNS, Trouble.UPLOAD_REFUSED, "images", message)


RULES: tuple[Rule, ...] = (
    _failed_sections,
    _login,
    _services,
    _networks,
    _floating_ips,
    _addresses,
    _flavors,
    _zones,
    _quotas,
    _groups,
    _uploads,
    _clock,
    _tls,
)


def findings(case: Case) -> tuple[Finding, ...]:
    """All of them, the worst first."""
    order = list(Severity)
    return tuple(
        sorted((found for rule in RULES for found in rule(case)), key=lambda f: order.index(f.severity))
    )

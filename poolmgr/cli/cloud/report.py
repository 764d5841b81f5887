"""The doctor's report for people: pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime

from poolmgr.model.cloud_report import CloudReport, Finding, LoginFacts, NetworkFacts, ServiceFacts, Severity
from poolmgr.model.server import Quota
from poolmgr.web.table import table_text
from poolmgr.web.views import Column, Row

WIDTH = 110
INDENT = 14  # of what stands after a word at the beginning of a line

SERVICE_COLUMNS = (
    Column("service", "Service"),
    Column("versions", "Versions"),
    Column("microversion", "Microversion"),
    Column("interface", "Interface"),
    Column("region", "Region"),
    Column("url", "URL"),
)
NETWORK_COLUMNS = (
    Column("name", "Network"),
    Column("roles", "Roles"),
    Column("why", "Why"),
    Column("subnets", "Subnets"),
    Column("floating_ip", "Floating IP"),
    Column("id", "ID"),
)
GROUP_COLUMNS = (Column("name", "Group"), Column("rules", "Rules"), Column("ssh", "SSH"), Column("id", "ID"))
QUOTA_COLUMNS = (
    Column("service", "Service"),
    Column("resource", "Resource"),
    Column("used", "Used"),
    Column("limit", "Limit"),
)
FLAVOR_COLUMNS = (
    Column("name", "Flavor"),
    Column("vcpus", "VCPUs"),
    Column("ram_mib", "RAM MiB"),
    Column("disk_gib", "Disk GiB"),
    Column("id", "ID"),
)


def report_text(report: CloudReport) -> str:
    """All of it. The verdict comes first, then what stops a launch, then the facts."""
    where = f"cloud {report.cloud}" + (f", region {report.region}" if report.region else "")
    lines = [f"{where}: could launch here: {'yes' if report.could_launch else 'NO'}", *_findings(report)]
    for title, section in (
        ("Login", _login(report)),
        ("Services", _services(report)),
        ("Networks", _networks(report)),
        ("Servers that name no network", _servers(report)),
        ("Security groups", _groups(report)),
        ("Key pairs", _key_pairs(report)),
        ("Flavors", _flavors(report)),
        ("Zones", _zones(report)),
        ("Quotas", _quotas(report)),
        ("Images", _images(report)),
        ("Network extensions", _extensions(report)),
    ):
        told = list(section)
        if told:
            lines += ["", title, *told]
    return "\n".join(lines)


# -- findings --------------------------------------------------------------------------------------------


def _findings(report: CloudReport) -> Iterator[str]:
    for finding in report.findings:
        yield ""
        yield from _finding(finding, report.cloud)


def _finding(finding: Finding, cloud: str) -> Iterator[str]:
    head = {Severity.BLOCKS: "BLOCKS", Severity.WARNS: "warns", Severity.NOTE: "note"}[finding.severity]
    message = finding.message.removeprefix(f"cloud {cloud}: ")
    yield from _filled(head, f"{message} [{finding.trouble.value}]")
    yield from _filled("", f"-> {finding.trouble.remedy}")


def _filled(head: str, text: str) -> list[str]:
    """`head`, and `text` beside it in a column of its own. Long words (URLs, ids) stay whole."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {head:<{INDENT - 2}}",
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [f"  {head}"]


def _missing(report: CloudReport, *sections: str) -> Iterator[str]:
    """Why sections are not there."""
    for section in sections:
        fault = report.faults.get(section)
        if fault is not None:
            yield from _filled("failed", fault.message.removeprefix(f"cloud {report.cloud}: "))


# -- facts -----------------------------------------------------------------------------------------------


def _login(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, "login", "projects", "clock", "tls", "connect")
    login = report.login
    if login is not None:
        yield from _login_lines(login)
    if report.clock is not None:
        yield from _filled(
            "clock", f"{report.clock.skew:+.1f} s against ours" if report.clock.skew else "as ours"
        )
    bare = [f"{facts.host}:{facts.port}" for facts in report.tls or () if not facts.protocol]
    if bare:
        yield from _filled("without TLS", ", ".join(bare))
    for facts in report.tls or ():
        words = ""
        if facts.protocol and facts.checked:
            until = f", until {_date(facts.not_after)}" if facts.not_after is not None else ""
            words = f"{facts.protocol}, certificate by {facts.issuer or 'unknown'}{until}"
        elif facts.protocol:
            words = f"{facts.protocol}, certificate not checked"
        if words:
            yield from _filled("TLS", f"{facts.host}:{facts.port}: {words}")


def _login_lines(login: LoginFacts) -> Iterator[str]:
    yield from _filled("url", f"{login.auth_url} ({login.auth_type})")
    if login.user or login.project:
        project = f"project {login.project} ({login.project_id})" + (
            f" of domain {login.domain}" if login.domain else ""
        )
        yield from _filled("user", f"{login.user} ({login.user_id}), {project}")
    if login.roles:
        yield from _filled("roles", ", ".join(login.roles))
    if login.expires_at is not None:
        life = ""
        if login.issued_at is not None:
            life = f"lives {(login.expires_at - login.issued_at) / 3600:.1f} h, "
        renewal = "is renewed" if login.renewable else "cannot be renewed"
        yield from _filled("token", f"{life}{renewal}")
    if login.regions:
        yield from _filled("regions", ", ".join(login.regions))


def _services(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, *(name for name in report.faults if name.startswith("services.")))
    rows = [_service_row(name, facts) for name, facts in report.services.items()]
    if rows:
        yield table_text(rows, SERVICE_COLUMNS)


def _service_row(name: str, facts: ServiceFacts | None) -> Row:
    if facts is None:
        return {"service": name, "url": "none"}
    offered = f" of {'-'.join(facts.microversions)}" if facts.microversions else ""
    return {
        "service": name,
        "versions": _span(facts.versions),
        "microversion": f"{facts.microversion or 'none'}{offered}",
        "interface": facts.interface or "override",
        "region": facts.region,
        "url": facts.url,
    }


def _span(versions: tuple[str, ...]) -> str:
    """`2.0 to 2.15`."""
    return " to ".join(dict.fromkeys((versions[-1], versions[0]))) if versions else ""


def _networks(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, "topology", "plan")
    rows = [row for network in report.networks or () for row in _network_rows(network)]
    if rows:
        yield table_text(rows, NETWORK_COLUMNS)


def _network_rows(network: NetworkFacts) -> Iterator[Row]:
    """A line for each role; the first has the rest."""
    shown = ", ".join(subnet.cidr for subnet in network.subnets) or "not shown"
    first = {
        "name": network.name + (" (shared)" if network.shared else ""),
        "subnets": shown,
        "floating_ip": f"{network.floating_ip.value}: {network.floating_ip_why}",
        "id": network.id,
    }
    for role in network.roles:
        yield {**first, "roles": role.role, "why": role.why}
        first = dict.fromkeys(first, "")


def _servers(report: CloudReport) -> Iterator[str]:
    servers = report.servers
    if servers is None:
        return
    yield from _filled("networks", f"{', '.join(servers.networks) or 'none'}: {servers.networks_why}")
    families = {"IPv4": servers.ipv4, "IPv6": servers.ipv6}
    known = [name for name, there in families.items() if there]
    yield from _filled(
        "addresses",
        (" and ".join(known) or "not known") + f"; IPv6 route here: {_yes(servers.own_ipv6_route)}",
    )
    if servers.connect_to:
        yield from _filled("reached by", servers.connect_to)
    yield from _filled("floating IP", f"{servers.floating_ip.value}: {servers.floating_ip_why}")


def _groups(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, "security_groups")
    rows = [
        {"name": g.name, "rules": g.rules, "ssh": "unknown" if g.ssh is None else _yes(g.ssh), "id": g.id}
        for g in report.security_groups or ()
    ]
    if rows:
        yield table_text(rows, GROUP_COLUMNS)


def _key_pairs(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, "key_pairs")
    if report.key_pairs is not None:
        yield from _filled("", ", ".join(pair.name for pair in report.key_pairs) or "none")


def _flavors(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, "flavors")
    if report.flavors is not None:
        diskless = sum(not flavor.disk_gib for flavor in report.flavors)
        yield from _filled("", f"{len(report.flavors)}, of which {diskless} without a disk")
    if report.flavors:
        yield table_text([vars_of(flavor) for flavor in report.flavors], FLAVOR_COLUMNS)


def _zones(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, "zones")
    names = [zone.name + ("" if zone.available else " (not available)") for zone in report.zones or ()]
    if report.zones is not None:
        yield from _filled("", ", ".join(names) or "none")


def _quotas(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, *(name for name in report.faults if name.startswith("quotas.")))
    rows = [_quota_row(quota) for quota in report.quotas or ()]
    if rows:
        yield table_text(rows, QUOTA_COLUMNS)


def _quota_row(quota: Quota) -> Row:
    return {
        "service": quota.service,
        "resource": quota.resource,
        "used": "unknown" if quota.used is None else f"{quota.used:g}",
        "limit": "unlimited" if quota.limit is None else f"{quota.limit:g}",
    }


def _images(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, "import_methods")
    images = report.images
    if images is not None:
        yield from _filled("upload", f"{images.method or 'no way'}: {images.why}; format {images.format}")
        yield from _filled("import", ", ".join(images.import_methods) or "none")


def _extensions(report: CloudReport) -> Iterator[str]:
    yield from _missing(report, "extensions")
    if report.extensions:
        yield from _filled("", ", ".join(report.extensions))


def vars_of(record: object) -> Row:
    """The fields of a record that has slots."""
    return {name: getattr(record, name) for name in record.__slots__}  # type: ignore[attr-defined]


def _yes(there: bool) -> str:
    return "yes" if there else "no"


def _date(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")

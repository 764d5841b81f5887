"""The doctor's report as people see it."""

from __future__ import annotations

import pytest

from poolmgr.cli.cloud.report import WIDTH, report_text
from poolmgr.model.cloud_report import (
    ClockFacts,
    CloudReport,
    Fault,
    Finding,
    LoginFacts,
    ServiceFacts,
    Severity,
    TlsFacts,
    ZoneFacts,
)
from poolmgr.model.server import Flavor, Quota
from poolmgr.model.trouble import Trouble

LOGIN = LoginFacts(
    auth_type="password",
    auth_url="https://k/v3",
    renewable=True,
    user="ci",
    user_id="u-1",
    project="builds",
    project_id="p-1",
    roles=("member", "reader"),
    issued_at=0.0,
    expires_at=14400.0,
)
SERVICE = ServiceFacts(
    url="https://n/v2.1",
    catalog_url="https://n/v2.1",
    type="compute",
    interface="public",
    region="one",
    versions=("2.1", "2.0"),
    microversions=("2.1", "2.93"),
    microversion="2.67",
)


def text(**more) -> str:
    return report_text(CloudReport(**{"cloud": "north", "region": "one", "at": 0.0, "seconds": 0.1, **more}))


def finding(severity: Severity, trouble: Trouble, message: str) -> Finding:
    return Finding(severity=severity, trouble=trouble, section="x", message=f"cloud north: {message}")


def test_the_verdict_comes_first_then_findings_with_what_to_do():
    found = finding(Severity.BLOCKS, Trouble.QUOTA_FULL, "quota of compute: 3 of 3 instances in use")
    lines = text(findings=(found,)).splitlines()
    assert lines[0] == "cloud north, region one: could launch here: NO"
    assert lines[2] == "  BLOCKS      quota of compute: 3 of 3 instances in use [quota-full]"
    assert lines[3].strip() == f"-> {Trouble.QUOTA_FULL.remedy}"
    assert text().splitlines() == ["cloud north, region one: could launch here: yes"]


def test_long_texts_are_wrapped_in_their_column_and_ids_stay_whole():
    ids = [f"{number:08d}-5899-4bc9-910c-02c72930cba8" for number in range(9)]
    lines = text(findings=(finding(Severity.WARNS, Trouble.SEVERAL_NETWORKS, ", ".join(ids)),)).splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line.startswith(" " * 14) for line in lines[3:])
    assert all(any(one in line for line in lines) for one in ids)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"login": LOGIN}, "user        ci (u-1), project builds (p-1)"),
        ({"login": LOGIN}, "token       lives 4.0 h, is renewed"),
        ({"clock": ClockFacts(skew=-61.5)}, "clock       -61.5 s against ours"),
        ({"clock": ClockFacts(skew=0.0)}, "clock       as ours"),
        ({"services": {"compute": SERVICE}}, "2.0 to 2.1 | 2.67 of 2.1-2.93 | public"),
        ({"services": {"network": None}}, "| none |"),
        (
            {"zones": (ZoneFacts(name="a", available=True), ZoneFacts(name="b", available=False))},
            "a, b (not available)",
        ),
        (
            {"quotas": (Quota(service="compute", resource="cores", limit=None, used=3),)},
            "| cores    | 3    | unlimited |",
        ),
        ({"quotas": (Quota(service="network", resource="ports", limit=500),)}, "| unknown | 500   |"),
        ({"flavors": (Flavor(id="f", name="tiny", vcpus=1, ram_mib=512),)}, "1, of which 1 without a disk"),
        (
            {"faults": {"zones": Fault(reason="silent", message="cloud north: zones: nothing")}},
            "failed      zones: nothing",
        ),
    ],
)
def test_what_a_section_tells(more, line):
    assert line in text(**more)


def test_hosts_without_tls_share_a_line():
    plain = {"protocol": "", "checked": False, "issuer": "", "names": (), "not_after": None}
    safe = {"protocol": "TLSv1.3", "checked": True, "issuer": "A", "names": (), "not_after": 86400.0}
    told = text(
        tls=(
            TlsFacts(host="a", port=1, **plain),
            TlsFacts(host="b", port=2, **plain),
            TlsFacts(host="c", port=3, **safe),
        )
    )
    assert "without TLS a:1, b:2" in told
    assert "c:3: TLSv1.3, certificate by A, until 1970-01-02" in told

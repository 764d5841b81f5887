"""`poolmgr cloud show`: the doctor of clouds."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from enum import Enum
from typing import Any

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.cloud.report import report_text
from poolmgr.cli.commandline import Subcommands, add_command, add_json, seconds
from poolmgr.model.cloud_report import CloudReport

DESCRIPTION = """\
Look at a cloud as poolmgr would use it, and say whether servers could be launched there: who we are, which services
there are and where, versions, networks and what they are for, whether servers will need a floating IP, security
groups, flavors, zones, quotas, how images get there. Nothing is made or changed.

  poolmgr cloud show north
  poolmgr cloud show north --region DFW
  poolmgr cloud show north --json | jq '.findings[] | select(.severity == "blocks") | .reason'

Each finding blocks launching, warns, or is a note, and says what to do. A section that fails, or takes too long, is
told and holds up no other. Exit code 0: servers could be launched here; 1: they could not, or clouds.yaml is wrong.
"""


def add_to(verbs: Subcommands) -> None:
    parser = add_command(
        verbs, "show", run, summary="look at a cloud, and what is wrong", description=DESCRIPTION
    )
    add_cloud(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=30.0,
        help="how long to wait for all of it (default: %(default)g)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from poolmgr.cloud import connect

    with connect(args.cloud, args.region, env=args.env) as cloud:
        report = cloud.show(limit=args.timeout)
    print(json.dumps(document(report), indent=2) if args.json else report_text(report))
    return 0 if report.could_launch else 1


def document(report: CloudReport) -> dict[str, Any]:
    """The report as JSON has it; doc/doctor.rst describes it."""
    body: dict[str, Any] = asdict(report, dict_factory=_plain)
    body["findings"] = [
        {
            "severity": finding.severity.value,
            "reason": finding.trouble.value,
            "section": finding.section,
            "message": finding.message,
            "remedy": finding.trouble.remedy,
        }
        for finding in report.findings
    ]
    return {"cloud": report.cloud, "region": report.region, "could_launch": report.could_launch, **body}


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value.value if isinstance(value, Enum) else value for key, value in items}

"""`poolmgr cloud config`: what clouds.yaml and its companions come to."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cloud.vendor import VendorProfiles
from poolmgr.config.clouds import load_clouds
from poolmgr.config.clouds_explain import Effective, effective
from poolmgr.config.clouds_keys import NULL_COUNTS
from poolmgr.config.problem import Severity, refuse_errors
from poolmgr.observe.redaction import Redaction
from poolmgr.runtime.clock import SystemClock
from poolmgr.web.table import table_text
from poolmgr.web.views import Column, Row

DESCRIPTION = """\
Show every setting of a cloud that is in force, as clouds.yaml, secure.yaml, the vendor's profile, the region and the
defaults make it. With --explain, also which of them: a file and line, `profile NAME`, the values of a region, an
environment variable, an argument, or the default. Secrets are not shown. The cloud is not contacted.

  poolmgr cloud config north
  poolmgr cloud config north --region DFW --explain
  poolmgr cloud config north --explain --json
  OS_CLOUD=north poolmgr cloud config
  poolmgr cloud config envvars --env --explain

Exit code 0: the cloud can be used (warnings may be printed on stderr); 1: it cannot, and everything that is wrong is
printed, one line each.
"""

KEY = Column("key", "Key")
VALUE = Column("value", "Value")
SOURCE = Column("source", "Set by")


def add_to(verbs: Subcommands) -> None:
    parser = add_command(verbs, "config", run, summary="show a cloud's settings", description=DESCRIPTION)
    add_cloud(parser)
    parser.add_argument("--explain", action="store_true", help="show who set each key")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    clouds = load_clouds(
        environ=os.environ,
        cwd=os.getcwd(),
        env=args.cloud is None if args.env is None else args.env,
        lasting=False,
        remote=VendorProfiles(SystemClock(), os.environ),
    )
    name, region = clouds.chosen(args.cloud, args.region)
    examined = clouds.examine(name, region)
    refuse_errors(examined.problems)
    assert examined.settings is not None  # there was no error
    for problem in (*clouds.warnings, *examined.problems):
        if problem.severity is Severity.WARNING:
            print(problem, file=sys.stderr)
    keys = [row(key) for key in effective(examined.settings)]
    if args.json:
        print(json.dumps({"cloud": name, "region": examined.settings.region_name, "keys": keys}, indent=2))
        return 0
    rows = [{**key, "value": text(key)} for key in keys]
    print(table_text(rows, (KEY, VALUE, SOURCE) if args.explain else (KEY, VALUE)))
    return 0


def row(key: Effective) -> Row:
    """`key` for printing; a password inside of a URL is a secret too."""
    shown = asdict(key)
    if isinstance(key.value, str):
        shown["value"] = Redaction().clean(key.value)
    return shown


def text(key: Row) -> object:
    """The value of `key` in a table, in the words of clouds.yaml."""
    value = key["value"]
    if value is None:
        return "none" if key["key"] in NULL_COUNTS else ""
    return str(value).lower() if isinstance(value, bool) else value

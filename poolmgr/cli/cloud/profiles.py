"""`poolmgr cloud profiles`: what poolmgr knows of public clouds."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.table import print_rows
from poolmgr.config.clouds_profiles import Profile, ProfileStatus, bundled_profiles
from poolmgr.web.views import Column, Row

DESCRIPTION = """\
List the vendor profiles that come with poolmgr. A cloud whose entry in clouds.yaml says `profile: NAME` needs little
more than a login; its own keys win. A profile is active, legacy (old or in doubt: using it gives a warning) or dead
(using it gives an error with the message). `Checked` is the day when somebody last looked at the facts; no endpoint
was contacted for it.

  poolmgr cloud profiles
  poolmgr cloud profiles --all
  poolmgr cloud profiles --json
"""

COLUMNS = (
    Column("name", "Name"),
    Column("status", "Status"),
    Column("regions", "Regions"),
    Column("auth_url", "Auth URL"),
    Column("checked", "Checked"),
    Column("message", "Message"),
)


def add_to(verbs: Subcommands) -> None:
    parser = add_command(verbs, "profiles", run, summary="list known public clouds", description=DESCRIPTION)
    parser.add_argument("--all", action="store_true", help="also the clouds that are gone")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    rows = [
        row(profile)
        for profile in bundled_profiles().values()
        if args.all or profile.status is not ProfileStatus.DEAD
    ]
    print_rows(rows, COLUMNS, as_json=args.json)
    return 0


def row(profile: Profile) -> Row:
    return {**asdict(profile), "status": profile.status.value, "regions": list(profile.regions)}

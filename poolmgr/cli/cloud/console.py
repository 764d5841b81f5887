"""`poolmgr cloud console`: what a server wrote while it booted."""

from __future__ import annotations

import argparse
import sys

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.commandline import Subcommands, add_command

DESCRIPTION = """\
Print the last 2,000 lines of a server's console. Some clouds have none; then nothing is printed.

  poolmgr cloud console north my-server
"""


def add_to(verbs: Subcommands) -> None:
    parser = add_command(verbs, "console", run, summary="show a server's console", description=DESCRIPTION)
    add_cloud(parser)
    parser.add_argument("name", metavar="NAME", help="name or id")


def run(args: argparse.Namespace) -> int:
    from poolmgr.cloud import connect

    with connect(args.cloud, args.region, env=args.env) as cloud:
        text = cloud.console(args.name)
    if text:
        print(text)
    else:
        print(f"poolmgr: {args.name} has no console (yet)", file=sys.stderr)
    return 0

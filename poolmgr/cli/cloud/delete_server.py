"""`poolmgr cloud delete-server`: away with a server and all that belongs to it."""

from __future__ import annotations

import argparse

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.commandline import Subcommands, add_command, seconds

DESCRIPTION = """\
Delete a server, by name or id, and return when it is gone. With a server that `create-server` made go its floating IP,
ports and volumes; a server that someone else made is deleted alone. A launcher's node is deleted only with --force:
`poolmgr delete` is the right way.

  poolmgr cloud delete-server north my-server
  poolmgr cloud delete-server north 6d2e4b1c-1111-4222-8333-944444444444 --no-wait

Exit code 0: it is gone; 1: it is not, or there is none of this name, or several.
"""


def add_to(verbs: Subcommands) -> None:
    parser = add_command(verbs, "delete-server", run, summary="delete a server", description=DESCRIPTION)
    add_cloud(parser)
    parser.add_argument("name", metavar="NAME", help="name or id")
    parser.add_argument("--force", action="store_true", help="also if it is a launcher's node")
    parser.add_argument(
        "--no-wait", action="store_true", help="return when the cloud has accepted the deletion"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=600.0, help="default: %(default)g"
    )


def run(args: argparse.Namespace) -> int:
    from poolmgr.cloud import connect

    with connect(args.cloud, args.region, env=args.env) as cloud:
        cloud.delete_server(args.name, wait=not args.no_wait, timeout=args.timeout, force=args.force)
    return 0

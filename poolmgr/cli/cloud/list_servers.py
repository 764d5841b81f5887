"""`poolmgr cloud list-servers`: what is there, and whose it is."""

from __future__ import annotations

import argparse
import time

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.cloud.servers import half_made_of, print_servers, server_row
from poolmgr.cli.commandline import Subcommands, add_command, add_json

DESCRIPTION = """\
List the servers that `create-server`, or a program with poolmgr's library, has made in the project, on whatever
machine. With --all, everyone's: Owner is then `library`, a node of a launcher's provider, or nobody that poolmgr knows.

A server is `half made` when the program that wanted it was killed before it was ready. `poolmgr cloud delete-server`
deletes one of them, `poolmgr cloud clean` all.

  poolmgr cloud list-servers north
  poolmgr cloud list-servers north --all --json
"""


def add_to(verbs: Subcommands) -> None:
    parser = add_command(verbs, "list-servers", run, summary="list servers", description=DESCRIPTION)
    add_cloud(parser)
    parser.add_argument("--all", action="store_true", help="also the servers of launchers and of others")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from poolmgr.cloud import connect

    with connect(args.cloud, args.region, env=args.env) as cloud:
        servers = cloud.list_servers(all=args.all)
        half_made = half_made_of(cloud, servers)
    now = time.time()
    rows = [server_row(server, now=now, half_made=server.id in half_made) for server in servers]
    print_servers(rows, as_json=args.json)
    return 0

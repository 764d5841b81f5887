"""`poolmgr list`: all nodes of all launchers."""

from __future__ import annotations

import argparse
import sys
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.table import print_rows
from poolmgr.web.provider_views import notices, provider_rows
from poolmgr.web.views import NODE_COLUMNS, NODE_DETAIL_COLUMNS, node_rows

DESCRIPTION = """\
Show every node record in ZooKeeper, whichever launcher made it. Age is the time in the present state, as
days:hours:minutes:seconds; Locked says whether a launcher or Zuul is working on or with the node. Providers that are
paused, drained or limited, and alarms, are told below, on stderr; `poolmgr provider list` has them as a table.

  poolmgr list
  poolmgr list --detail
  poolmgr list --json | jq '.[] | select(.state == "hold") | .id'
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "list", run, summary="show nodes", description=DESCRIPTION)
    parser.add_argument("--detail", action="store_true", help="more columns (JSON always has all)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    now = time.time()
    with session.opened(args) as store, store.reading() as snapshot:
        rows = node_rows(snapshot, now=now)
        providers = provider_rows(snapshot, now=now)
    print_rows(rows, NODE_DETAIL_COLUMNS if args.detail else NODE_COLUMNS, as_json=args.json)
    for line in notices(providers, now=now):
        print(line, file=sys.stderr)  # scripts read the table
    return 0

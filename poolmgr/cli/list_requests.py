"""`poolmgr request-list`: all open node requests."""

from __future__ import annotations

import argparse

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.table import print_rows
from poolmgr.web.views import REQUEST_COLUMNS, request_rows

DESCRIPTION = """\
Show every node request in ZooKeeper, the one to be served first on top. Priority is the relative priority
(smaller is sooner); the first part of the id comes before it. Declined By names the pools that cannot serve it.

  poolmgr request-list
  poolmgr request-list --json | jq '.[] | select(.state == "requested")'
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "request-list", run, summary="show open node requests", description=DESCRIPTION
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    with session.opened(args) as store, store.reading() as snapshot:
        rows = request_rows(snapshot)
    print_rows(rows, REQUEST_COLUMNS, as_json=args.json)
    return 0

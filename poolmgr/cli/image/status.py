"""`poolmgr image-status`: which images are paused, and of which a build is wanted."""

from __future__ import annotations

import argparse
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.table import print_rows
from poolmgr.web.image_views import STATUS_COLUMNS, STATUS_DETAIL_COLUMNS, status_rows

DESCRIPTION = """\
Show the images that ZooKeeper knows: whether `poolmgr image-pause` has paused them, and whether `poolmgr image-build`
asked for a build that is pending or building. --detail tells who ordered it and why.

  poolmgr image-status
  poolmgr image-status --detail
  poolmgr image-status --json | jq -r '.[] | select(.paused) | .image'
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "image-status", run, summary="show pauses and requests", description=DESCRIPTION
    )
    parser.add_argument("--detail", action="store_true", help="more columns (JSON always has all)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    with session.opened(args) as store, store.reading() as snapshot:
        rows = status_rows(snapshot)
    columns = STATUS_DETAIL_COLUMNS if args.detail else STATUS_COLUMNS
    print_rows(rows, columns, as_json=args.json, now=time.time())
    return 0

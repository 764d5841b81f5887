"""`poolmgr image-list`: the uploads of all images to all providers."""

from __future__ import annotations

import argparse
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.table import print_rows
from poolmgr.web.image_views import UPLOAD_COLUMNS, UPLOAD_DETAIL_COLUMNS, upload_rows

DESCRIPTION = """\
Show every upload of every image, whichever builder made it. Age is the time in the present state, as
days:hours:minutes:seconds. --detail also shows how far an upload is and when it may be done, how many nodes boot from
it, and, for one that failed, why, how often in a row, and when it is tried again.

  poolmgr image-list
  poolmgr image-list --detail
  poolmgr image-list --json | jq '.[] | select(.state == "failed") | .reason'

In JSON `age` is the time of the last change of state, in seconds since the epoch, as Nodepool has it.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "image-list", run, summary="show image uploads", description=DESCRIPTION)
    parser.add_argument("--detail", action="store_true", help="more columns (JSON always has all)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    settings, now = session.load_settings(args), time.time()
    with session.opened(args, settings) as store, store.reading() as snapshot:
        rows = upload_rows(snapshot, now=now, retry_max=settings.image_retry_max)
    print_rows(rows, UPLOAD_DETAIL_COLUMNS if args.detail else UPLOAD_COLUMNS, as_json=args.json, now=now)
    return 0

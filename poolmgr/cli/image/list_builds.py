"""`poolmgr dib-image-list`: the builds of all images."""

from __future__ import annotations

import argparse
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.table import print_rows
from poolmgr.web.image_views import BUILD_COLUMNS, BUILD_DETAIL_COLUMNS, build_rows

DESCRIPTION = """\
Show every build of every image, whichever builder made it. All builds of an image that `poolmgr image-pause` has paused
are shown as paused; --detail tells their own state too. It also shows why a build was begun, how far it is and when it
may be done (by how long the last ones took), sizes, where to read its log, and, for one that failed, why, how often in
a row, and when the next attempt follows. A failed build stays listed until one of its image succeeds.

  poolmgr dib-image-list
  poolmgr dib-image-list --detail
  poolmgr dib-image-list --json | jq -r '.[] | select(.build_state == "building") | .log'
  curl -s http://BUILDER:8006/build-log/IMAGE-BUILD?follow=1

In JSON `age` is the time of the last change of state, in seconds since the epoch, as Nodepool has it.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "dib-image-list", run, summary="show image builds", description=DESCRIPTION
    )
    parser.add_argument("--detail", action="store_true", help="more columns (JSON always has all)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    settings, now = session.load_settings(args), time.time()
    with session.opened(args, settings) as store, store.reading() as snapshot:
        rows = build_rows(snapshot, now=now, retry_max=settings.image_retry_max)
    print_rows(rows, BUILD_DETAIL_COLUMNS if args.detail else BUILD_COLUMNS, as_json=args.json, now=now)
    return 0

"""`poolmgr dib-request-list`: builds that someone asked for."""

from __future__ import annotations

import argparse
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.table import print_rows
from poolmgr.web.image_views import BUILD_REQUEST_COLUMNS, build_request_rows

DESCRIPTION = """\
Show the builds that `poolmgr image-build` asked for and that are not done yet, the oldest first, with who asked and
why. One is pending until a build of its image begins, and goes when a build that began after it is ready.

  poolmgr dib-request-list
  poolmgr dib-request-list --json

In JSON `age` is the time at which it was asked for, in seconds since the epoch.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "dib-request-list", run, summary="show requested builds", description=DESCRIPTION
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    with session.opened(args) as store, store.reading() as snapshot:
        rows = build_request_rows(snapshot)
    print_rows(rows, BUILD_REQUEST_COLUMNS, as_json=args.json, now=time.time())
    return 0

"""`poolmgr dib-image-delete`: have builds deleted, with all that was made of them."""

from __future__ import annotations

import argparse
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.image.marking import booting, mark_build, mark_each, reason_text, tell_booting
from poolmgr.cli.person import confirm, counted, did_you_mean
from poolmgr.cli.table import ask_about, print_rows
from poolmgr.errors import Refused
from poolmgr.model.image import Build
from poolmgr.model.snapshot import Snapshot
from poolmgr.web.image_views import BUILD_COLUMNS, build_row
from poolmgr.web.views import Column, Row

DESCRIPTION = """\
Mark a build for deletion; builders then delete its uploads in all clouds, its files, and its record. If it was the only
one, a new build begins soon, unless the image is paused (`poolmgr image-pause`).

  poolmgr dib-image-delete ubuntu-noble-0f3c6c1c9d3b4d2e8f7a6b5c4d3e2f1a
  poolmgr dib-image-delete --image ubuntu-xenial

--image means all builds of an image. Builders leave images alone that their configuration does not have, so this is how
an image goes that was taken out of it. The builds are shown first, and you are asked, unless --yes.
`poolmgr dib-image-list` shows the ids. Exit code 1: there is no such build, or it is being built just now.
"""

#: Builds of a paused image are all "paused": what becomes of them is in the column behind.
COLUMNS = (*BUILD_COLUMNS, Column("build_state", "Build State"))


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "dib-image-delete", run, summary="delete builds", description=DESCRIPTION)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "id", metavar="ID", nargs="?", help="<image>-<build>, as `poolmgr dib-image-list` has it"
    )
    which.add_argument("--image", metavar="IMAGE", help="all builds of this image")
    parser.add_argument("--reason", metavar="TEXT", help="stored with the build")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    settings = session.load_settings(args)

    def rows_of(snapshot: Snapshot, builds: list[Build]) -> list[Row]:
        now, most = time.time(), settings.image_retry_max
        return [build_row(snapshot, build, now=now, retry_max=most) for build in builds]

    with session.opened(args, settings) as store:
        with store.reading() as snapshot:
            found = chosen(snapshot, args)
            rows = rows_of(snapshot, found)
        if args.image and not args.yes:
            ask_about(rows, COLUMNS, now=time.time())
            confirm(
                len(found),
                f"{counted(len(found), 'build')} and all uploads of them will be deleted",
                yes=False,
            )
        reason = reason_text(args.reason)
        marked, all_of_them = mark_each(found, lambda b: mark_build(store, b, reason, now=time.time()))
        with store.reading() as snapshot:
            rows = rows_of(snapshot, marked)
            busy = [(build, _booting(snapshot, build)) for build in marked]
    if rows or args.json:  # none were marked: stderr has said why
        print_rows(rows, COLUMNS, as_json=args.json, now=time.time())
    for build, count in busy:
        tell_booting(f"build {build.name}", count)
    return 0 if all_of_them else 1


def chosen(snapshot: Snapshot, args: argparse.Namespace) -> list[Build]:
    """The builds that the options mean, by age; at least one. Raises Refused."""
    if args.image:
        found = sorted(snapshot.builds_of(args.image), key=lambda b: (b.state_time, b.id))
        if not found:
            known = {build.image for build in snapshot.builds()}
            raise Refused(f"there is no build of {args.image}", remedy=did_you_mean(args.image, known))
        return found
    image, dash, build_id = args.id.rpartition("-")
    if not dash:
        raise Refused(
            f"{args.id} is not a build's id", remedy="they are <image>-<build>; see `poolmgr dib-image-list`"
        )
    build = snapshot.build(image, build_id)
    if build is None:
        known = {build.name for build in snapshot.builds()}
        raise Refused(f"build {args.id} not found", remedy=did_you_mean(args.id, known))
    return [build]


def _booting(snapshot: Snapshot, build: Build) -> int:
    return sum(booting(snapshot, upload) for upload in snapshot.uploads_of(build.image, build.id))

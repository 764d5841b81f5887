"""`poolmgr image-delete`: have uploads deleted."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.image.marking import booting, mark_each, mark_upload, reason_text, tell_booting, upload_text
from poolmgr.cli.person import confirm, counted, did_you_mean
from poolmgr.cli.table import ask_about, print_rows
from poolmgr.errors import Refused
from poolmgr.model.image import Upload, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.web.image_views import UPLOAD_COLUMNS, upload_row
from poolmgr.web.views import Row

DESCRIPTION = """\
Mark uploads for deletion; a builder then deletes the images in the clouds, as soon as no node boots from them any more.
Launchers go back to the upload before. A build whose upload to a provider was deleted this way is not
uploaded there again: the next one comes from the next build.

  poolmgr image-delete --provider rax-dfw --image ubuntu-noble --newest
  poolmgr image-delete --image ubuntu-noble --newest --yes
  poolmgr image-delete --provider rax-dfw --image ubuntu-noble --build-id 0f3c... --upload-id 0000000001

All four options name one upload, which is marked at once, as Nodepool does. Fewer of them mean every upload that they
fit, --newest only the newest ready one in each provider: these are shown first, and you are asked, unless --yes.
`poolmgr image-list` shows the ids. Exit code 1: nothing fits, or something could not be marked.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "image-delete", run, summary="delete uploads", description=DESCRIPTION)
    parser.add_argument("--provider", metavar="PROVIDER")
    parser.add_argument("--image", metavar="IMAGE")
    parser.add_argument("--build-id", metavar="BUILD", help="of the build, without the image's name")
    parser.add_argument("--upload-id", metavar="UPLOAD")
    parser.add_argument("--newest", action="store_true", help="only the newest ready one in each provider")
    parser.add_argument("--reason", metavar="TEXT", help="stored with the upload")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if not (args.provider or args.image):
        raise Refused("--provider or --image is needed, to say which uploads")
    settings = session.load_settings(args)
    with session.opened(args, settings) as store:
        with store.reading() as snapshot:
            found = chosen(snapshot, args)
            rows = [_row(snapshot, upload, settings.image_retry_max) for upload in found]
        if not all((args.provider, args.image, args.build_id, args.upload_id)) and not args.yes:
            ask_about(rows, UPLOAD_COLUMNS, now=time.time())
            confirm(len(found), f"{counted(len(found), 'upload')} will be deleted", yes=False)
        reason = reason_text(args.reason)
        marked, all_of_them = mark_each(found, lambda u: mark_upload(store, u, reason, now=time.time()))
        with store.reading() as snapshot:
            rows = [_row(snapshot, upload, settings.image_retry_max) for upload in marked]
            busy = [(upload, booting(snapshot, upload)) for upload in marked]
    if rows or args.json:  # none were marked: stderr has said why
        print_rows(rows, UPLOAD_COLUMNS, as_json=args.json, now=time.time())
    for upload, count in busy:
        tell_booting(upload_text(upload), count)
    return 0 if all_of_them else 1


def chosen(snapshot: Snapshot, args: argparse.Namespace) -> list[Upload]:
    """The uploads that the options mean, by provider, image and age; at least one. Raises Refused."""
    upload_id = args.upload_id.zfill(10) if args.upload_id else None  # as they are numbered
    found = [
        upload
        for upload in snapshot.uploads()
        if args.provider in (None, upload.provider)
        and args.image in (None, upload.image)
        and args.build_id in (None, upload.build)
        and upload_id in (None, upload.id)
    ]
    if args.newest:
        found = newest(found)
    if not found:
        raise _not_found(snapshot, args)
    return sorted(found, key=lambda u: (u.provider, u.image, u.state_time, u.id))


def newest(uploads: Iterable[Upload]) -> list[Upload]:
    """The newest READY one of each image in each provider."""
    best: dict[tuple[str, str], Upload] = {}
    for upload in uploads:
        target = (upload.provider, upload.image)
        if upload.state is UploadState.READY and (
            target not in best or best[target].state_time < upload.state_time
        ):
            best[target] = upload
    return list(best.values())


def _not_found(snapshot: Snapshot, args: argparse.Namespace) -> Refused:
    """With what to try instead: the first option that no upload has."""
    uploads = list(snapshot.uploads())
    options = {
        "provider": (args.provider, {u.provider for u in uploads}),
        "image": (args.image, {u.image for u in uploads if args.provider in (None, u.provider)}),
        "build": (args.build_id, {u.build for u in uploads if args.image in (None, u.image)}),
    }
    for what, (name, known) in options.items():
        if name and name not in known:
            return Refused(
                f"image upload not found: no upload has {what} {name}", remedy=did_you_mean(name, known)
            )
    return Refused("image upload not found", remedy="`poolmgr image-list` shows what there is")


def _row(snapshot: Snapshot, upload: Upload, retry_max: float) -> Row:
    return upload_row(snapshot, upload, now=time.time(), retry_max=retry_max)

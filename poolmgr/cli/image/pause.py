"""`poolmgr image-pause` and `image-unpause`: whether builders may build an image."""

from __future__ import annotations

import argparse
import sys

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command
from poolmgr.cli.person import did_you_mean, user_at_host
from poolmgr.config.settings import Settings
from poolmgr.errors import Refused
from poolmgr.model.image import ImageOrder, Order
from poolmgr.store.api import Store

PAUSE = """\
Have no builder begin a build of an image, at once and wherever it is configured, until `poolmgr image-unpause`. Neither
its age nor `image-build` begins one. What is being built goes on, and so do uploads of what is built; to stop those,
set `pause: true` in the providers' lists.

  poolmgr image-pause ubuntu-noble
  poolmgr image-pause ubuntu-noble --reason "mirror is broken, ana"

`poolmgr image-status --detail` shows who has paused what, and why. Exit code 1: no such image.
"""
UNPAUSE = """\
Let builders build an image again that `poolmgr image-pause` has paused. One that is overdue is built at once.

  poolmgr image-unpause ubuntu-noble

Exit code 1: no such image. One that was not paused is fine.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "image-pause", run_pause, summary="build an image no more", description=PAUSE
    )
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--reason", metavar="TEXT", help="stored with the pause")
    parser = add_command(
        commands, "image-unpause", run_unpause, summary="build an image again", description=UNPAUSE
    )
    parser.add_argument("image", metavar="IMAGE")


def run_pause(args: argparse.Namespace) -> int:
    settings = session.load_settings(args)
    with session.opened(args, settings) as store:
        require_known(store, settings, args.image)
        order = ImageOrder(image=args.image, kind=Order.PAUSE, by=user_at_host(), reason=args.reason)
        stands = store.order_image(order)
    if (stands.by, stands.reason) != (order.by, order.reason):
        by = f" by {stands.by}" if stands.by else ""
        why = f" ({stands.reason})" if stands.reason else ""
        print(f"image {args.image} was paused already{by}{why}; that stands", file=sys.stderr)
    return 0


def run_unpause(args: argparse.Namespace) -> int:
    settings = session.load_settings(args)
    with session.opened(args, settings) as store:
        if store.withdraw_order(args.image, Order.PAUSE):
            return 0
        require_known(store, settings, args.image)
    print(f"image {args.image} was not paused", file=sys.stderr)
    if args.image in settings.diskimages and settings.diskimages[args.image].pause:
        print("but it is paused in this configuration: `pause: true`", file=sys.stderr)
    return 0


def require_known(store: Store, settings: Settings, image: str) -> None:
    """Raises Refused when neither this configuration nor the store has such an image."""
    with store.reading() as snapshot:
        known = {*settings.diskimages, *snapshot.images()}
    if image not in known:
        raise Refused(
            f"there is no image {image}, neither in this configuration nor in ZooKeeper",
            remedy=did_you_mean(image, known),
        )

"""`poolmgr image-build`: have an image built now, or not after all."""

from __future__ import annotations

import argparse
import sys

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command
from poolmgr.cli.person import did_you_mean, user_at_host
from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.errors import Refused
from poolmgr.model.component import ComponentKind
from poolmgr.model.image import BuildState, ImageOrder, Order
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_orders import given_after
from poolmgr.store.api import Store

DESCRIPTION = """\
Ask the builders to build an image now. It is built before whatever is only due by its age, as soon as a builder has a
worker free. Asked for twice, it is built once; asked for again after that has failed, it is tried again at once. The
image must be in this configuration and not paused there; one that `poolmgr image-pause` has paused is built once it is
unpaused.

  poolmgr image-build ubuntu-noble
  poolmgr image-build ubuntu-noble --reason "CVE-2026-1234"
  poolmgr image-build ubuntu-noble --cancel

--cancel takes the request back; a build that has begun goes on. `poolmgr dib-request-list` shows what is asked for.
Exit code 1: there is no such image, it is paused in the configuration, or there was nothing to cancel.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "image-build", run, summary="build an image now", description=DESCRIPTION)
    parser.add_argument("image", metavar="IMAGE", help="its name in `diskimages`")
    parser.add_argument("--reason", metavar="TEXT", help="stored with the request")
    parser.add_argument("--cancel", action="store_true", help="take the request back")


def run(args: argparse.Namespace) -> int:
    settings = session.load_settings(args)
    if not args.cancel:
        require_buildable(settings, args.image)
    with session.opened(args, settings) as store:
        if args.cancel:
            cancel(store, args.image)
            return 0
        with store.reading() as snapshot:
            told = build_warnings(snapshot, settings, args.image)
            standing = snapshot.order(args.image, Order.BUILD)
            stale = standing is not None and failed_since(snapshot, standing)
        if stale:
            store.withdraw_order(args.image, Order.BUILD)
        elif standing is not None:
            told.insert(0, f"a build of {args.image} is asked for already{_by(standing)}")
        store.order_image(
            ImageOrder(image=args.image, kind=Order.BUILD, by=user_at_host(), reason=args.reason)
        )
    for line in told:
        print(line, file=sys.stderr)
    return 0


def failed_since(snapshot: Snapshot, order: ImageOrder) -> bool:
    """Whether a build has failed since the order was given; builders then wait, and a new order ends that."""
    failed = (b for b in snapshot.builds_of(order.image) if b.state is BuildState.FAILED)
    return any(not given_after(order, build) for build in failed)


def require_buildable(settings: Settings, image: str) -> None:
    """Raises Refused when no builder with this configuration would build it."""
    found = settings.diskimages.get(image)
    if found is None:
        hint = did_you_mean(image, settings.diskimages)
        raise Refused(f"there is no disk image {image} in this configuration", remedy=hint)
    if found.pause:
        raise Refused(
            f"image {image} is paused in this configuration", remedy="remove `pause: true` from it first"
        )


def build_warnings(snapshot: Snapshot, settings: Settings, image: str) -> list[str]:
    """Why the build may not begin soon, a line for each reason."""
    lines = []
    pause = snapshot.order(image, Order.PAUSE)
    if pause is not None:
        who = f" by {pause.by}" if pause.by else ""
        why = f" ({pause.reason})" if pause.reason else ""
        lines.append(
            f"image {image} is paused{who}{why}: the build waits for `poolmgr image-unpause {image}`"
        )
    if not settings.diskimages[image].build.formats and not _listed(settings, image):
        lines.append(
            f"image {image} has no `formats`, and no provider of this configuration lists it: "
            "only a builder with another configuration would build it"
        )
    if not any(True for _ in snapshot.components(ComponentKind.BUILDER)):
        lines.append("no builder is running: the build waits until one starts")
    return lines


def cancel(store: Store, image: str) -> None:
    """Raises Refused when there is nothing to cancel."""
    if store.withdraw_order(image, Order.BUILD):
        return
    with store.reading() as snapshot:
        asked = [order.image for order in snapshot.orders(Order.BUILD)]
    raise Refused(f"no build of {image} is asked for", remedy=did_you_mean(image, asked))


def _by(order: ImageOrder) -> str:
    who = f" by {order.by}" if order.by else ""
    return f"{who} ({order.reason})" if order.reason else who


def _listed(settings: Settings, image: str) -> bool:
    providers = (p for p in settings.providers.values() if isinstance(p, OpenStackProvider))
    return any(image in provider.diskimages for provider in providers)

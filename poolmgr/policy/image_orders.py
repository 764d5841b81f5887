"""What people ordered about an image: a build now, or none at all for a while."""

from __future__ import annotations

from poolmgr.config.settings import DiskImage
from poolmgr.model.image import Build, BuildState, ImageOrder, Order
from poolmgr.model.snapshot import Snapshot


def pause_of(snapshot: Snapshot, image: DiskImage) -> str:
    """Who paused builds of the image, and why, for people; "" when nobody did."""
    if image.pause:
        return "paused in the configuration"
    order = snapshot.order(image.name, Order.PAUSE)
    if order is None:
        return ""
    return f"paused by {order.by or 'command'}" + (f": {order.reason}" if order.reason else "")


def answered(snapshot: Snapshot, order: ImageOrder) -> bool:
    """Whether a build that began after the order was given is READY, so that the order can be withdrawn.

    Builds by nodepool-builder do not say when they began; it withdraws the orders itself that it has carried out.
    """
    return any(
        build.state is BuildState.READY and build.started is not None and build.started >= order.at
        for build in snapshot.builds_of(order.image)
    )


def orders_answered(snapshot: Snapshot) -> tuple[ImageOrder, ...]:
    """Orders to withdraw: a build answered them and nobody did it, because the builder died, say."""
    return tuple(order for order in snapshot.orders(Order.BUILD) if answered(snapshot, order))


def given_after(order: ImageOrder | None, failed: Build) -> bool:
    """By the store's own count of changes where both have it: its clock and a builder's may differ."""
    if order is None:
        return False
    if order.zxid >= 0 and failed.zxid >= 0:
        return order.zxid > failed.zxid
    return order.at > failed.state_time

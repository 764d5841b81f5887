"""One node, changed by hand: what `hold` and `delete` share."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from poolmgr.cli import session
from poolmgr.cli.table import print_rows
from poolmgr.errors import LockBusy, RecordGone
from poolmgr.model.node import Node
from poolmgr.store.api import Lock, Store
from poolmgr.web.views import NODE_COLUMNS, node_row

#: How long to wait for a node that someone has locked (cli-web.md 1.1).
LOCK_TIMEOUT = 5.0

Change = Callable[[Node, float], Node]


def change_node(store: Store, node_id: str, change: Change, *, now: float) -> Node:
    """Lock the node, store `change(node, now)`, unlock it; returns it as stored.

    Raises RecordGone, LockBusy with the reason, and what `change` and the store raise.
    """
    lock, node = lock_node(store, node_id)
    try:
        return store.save_node(change(node, now), lock)
    finally:
        store.unlock(lock)


def lock_node(store: Store, node_id: str) -> tuple[Lock, Node]:
    """Its lock, and the node read under it. Raises RecordGone, BadRecord, LockBusy with the reason."""
    try:
        return store.lock_node(node_id, timeout=LOCK_TIMEOUT)
    except LockBusy as error:
        raise LockBusy(_why_busy(store, node_id)) from error


def run_change(args: argparse.Namespace, change: Change) -> int:
    """Apply `change` to node `args.id` and print the node as `list` does.

    An unknown node is no failure: the reference exits with 0 there, and scripts that clean up rely on it.
    """
    with session.opened(args) as store:
        try:
            node = change_node(store, args.id, change, now=time.time())
        except RecordGone:
            print("[]" if args.json else f"Node id {args.id} not found")
            return 0
        with store.reading() as snapshot:
            locked = snapshot.node_locked(node.id)
    print_rows([node_row(node, locked=locked, now=time.time())], NODE_COLUMNS, as_json=args.json)
    return 0


def _why_busy(store: Store, node_id: str) -> str:
    with store.reading() as snapshot:
        node = snapshot.node(node_id)
    if node is None:
        return f"node {node_id} is locked by someone else"
    by = "Zuul or another requestor" if node.allocated_to else "a launcher"
    return (
        f"node {node_id} ({node.state.value}) is locked, by {by} as it seems, and stayed so for "
        f"{LOCK_TIMEOUT:g} seconds; nothing was changed. Try again when it is idle."
    )

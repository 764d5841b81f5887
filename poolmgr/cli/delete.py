"""`poolmgr delete`: have a node deleted."""

from __future__ import annotations

import argparse
import os
import sys
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json, seconds
from poolmgr.cli.nodes import lock_node, run_change
from poolmgr.cli.table import print_rows
from poolmgr.errors import RecordGone
from poolmgr.model.node import Node, NodeState
from poolmgr.runtime.clock import SystemClock
from poolmgr.store.api import Store
from poolmgr.web.views import NODE_COLUMNS, node_row

DESCRIPTION = """\
Mark a node for deletion; a launcher that has its provider deletes the server and then the record, within seconds.
A node that a job uses is locked by Zuul and cannot be deleted this way.

With --now this command deletes it from here, with its server, volumes, ports and floating IPs, and ends when the cloud
has shown that all of it is gone. Its provider has to be in this configuration and in clouds.yaml. If it is cut short,
the node stays marked, and a launcher goes on.

  poolmgr delete 0000004711
  poolmgr delete 0000004711 --now
  poolmgr list --json | jq -r '.[] | select(.state == "hold") | .id' | xargs -n1 poolmgr delete

Exit code 1: the node is locked; or, with --now, not gone after --timeout.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "delete", run, summary="delete a node", description=DESCRIPTION)
    parser.add_argument("id", metavar="ID", help="node id as `poolmgr list` shows it")
    parser.add_argument("--now", action="store_true", help="delete from here, without a launcher")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=600.0,
        help="with --now: wait so long for the cloud (default: %(default)g)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    return run_now(args) if args.now else run_change(args, marked)


def run_now(args: argparse.Namespace) -> int:
    settings = session.load_settings(args)
    from poolmgr.wiring.deletion import delete_now, provider_of  # it imports every part there is

    with session.opened(args, settings) as store:
        try:
            node = store.read_node(args.id)
            provider_of(settings, node)
            lock, node = lock_node(store, args.id)
        except RecordGone:
            print("[]" if args.json else f"Node id {args.id} not found")
            return 0
        try:
            node = store.save_node(marked(node, time.time()), lock)
        except BaseException:
            store.unlock(lock)
            raise
        _show(store, node, as_json=args.json)
        gone = delete_now(
            store,
            settings,
            node,
            lock,
            environ=os.environ,
            clock=SystemClock(),
            timeout=args.timeout,
            tell=lambda line: print(line, file=sys.stderr),
        )
    if gone:
        print(f"node {node.id} is gone", file=sys.stderr)
        return 0
    print(
        f"node {node.id} is not gone after {args.timeout:g} seconds; it stays marked, and a launcher goes on",
        file=sys.stderr,
    )
    return 1


def _show(store: Store, node: Node, *, as_json: bool) -> None:
    with store.reading() as snapshot:
        locked = snapshot.node_locked(node.id)
    print_rows([node_row(node, locked=locked, now=time.time())], NODE_COLUMNS, as_json=as_json)


def marked(node: Node, now: float) -> Node:
    """The node as one to delete; one that is already keeps its time."""
    return node if node.state is NodeState.DELETING else node.moved(NodeState.DELETING, at=now)

"""`poolmgr delete`: have a node deleted."""

from __future__ import annotations

import argparse
import sys

from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.nodes import run_change
from poolmgr.model.node import Node, NodeState

DESCRIPTION = """\
Mark a node for deletion; a launcher that has its provider deletes the server and then the record, within seconds.
A node that a job uses is locked by Zuul and cannot be deleted this way.

  poolmgr delete 0000004711
  poolmgr list --json | jq -r '.[] | select(.state == "hold") | .id' | xargs -n1 poolmgr delete
"""
NOT_NOW = (
    "poolmgr delete --now is not supported yet; nothing was changed. Without --now a running launcher "
    "does the same within seconds."
)


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "delete", run, summary="delete a node", description=DESCRIPTION)
    parser.add_argument("id", metavar="ID", help="node id as `poolmgr list` shows it")
    parser.add_argument(
        "--now", action="store_true", help="delete from here, without a launcher (not supported yet)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if args.now:
        print(NOT_NOW, file=sys.stderr)
        return 1
    return run_change(args, marked)


def marked(node: Node, now: float) -> Node:
    """The node as one to delete; one that is already keeps its time."""
    return node if node.state is NodeState.DELETING else node.moved(NodeState.DELETING, at=now)

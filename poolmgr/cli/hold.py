"""`poolmgr hold`: keep a node for a person to look at."""

from __future__ import annotations

import argparse

from poolmgr.cli.commandline import Subcommands, add_command, add_json, positive_int
from poolmgr.cli.nodes import run_change
from poolmgr.errors import Refused
from poolmgr.model.node import Node, NodeState

DESCRIPTION = """\
Put a node on hold: launchers leave it alone until its own expiry or max-hold-age of the configuration, whichever
comes first; without either it stays until `poolmgr delete`. A node that a job uses is locked by Zuul and cannot be
held this way: use Zuul's autohold.

  poolmgr hold 0000004711
  poolmgr hold 0000004711 --reason "kernel panic, ask ana" --expires 86400
"""

#: The server may be half gone already.
TOO_LATE = frozenset({NodeState.DELETING, NodeState.DELETED})


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "hold", run, summary="keep a node", description=DESCRIPTION)
    parser.add_argument("id", metavar="ID", help="node id as `poolmgr list` shows it")
    parser.add_argument("--reason", metavar="TEXT", help="stored as the node's comment")
    parser.add_argument(
        "--expires", metavar="SECONDS", type=positive_int, help="delete the node after so long on hold"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    def held(node: Node, now: float) -> Node:
        return hold(node, now, reason=args.reason, expires=args.expires)

    return run_change(args, held)


def hold(node: Node, now: float, *, reason: str | None, expires: int | None) -> Node:
    """The node on hold; `None` leaves comment or expiry as it is. Raises Refused."""
    if node.state in TOO_LATE:
        raise Refused(f"node {node.id} is {node.state.value}: too late to hold it")
    return node.moved(
        NodeState.HOLD,
        at=now,
        comment=node.comment if reason is None else reason,
        hold_expiration=node.hold_expiration if expires is None else expires,
    )

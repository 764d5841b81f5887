"""`poolmgr request`: get nodes as a CI system would, and give them back."""

from __future__ import annotations

import argparse
import json
import sys

from poolmgr.cli import session
from poolmgr.cli.client import NodeClient
from poolmgr.cli.commandline import Subcommands, add_command, add_json, seconds
from poolmgr.cli.orders import Order, Wanted
from poolmgr.cli.visit import Visit, label_warnings
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.signals import stop_signals
from poolmgr.web.table import table_text
from poolmgr.web.views import Column, Row

DESCRIPTION = """\
Ask for one node of each LABEL, all in one request (same cloud and zone), as Zuul would: wait until the request is
fulfilled, lock the nodes, set them in use, print their addresses, keep them until --hold is over or Ctrl-C, then
give them back as used; a launcher deletes them. Ctrl-C before that cancels the request. Nothing stays behind, even
if this process is killed.

  poolmgr request ubuntu-noble                       keep it until Ctrl-C
  poolmgr request debian-12 debian-12 --hold 600     two nodes for ten minutes
  poolmgr request debian-12 --hold 0 --timeout 300   does it all work? see the exit code
  poolmgr request debian-12 --json | jq -r '.nodes[0].interface_ip'

Progress goes to stderr, the result to stdout. Exit code 1 when the request failed or --timeout was reached.
"""
REQUESTOR = "poolmgr"
COLUMNS = (
    Column("id", "ID"),
    Column("label", "Label"),
    Column("provider", "Provider"),
    Column("interface_ip", "Address"),
    Column("connection_port", "Port"),
    Column("username", "Username"),
)


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "request", run, summary="get nodes, keep them, give them back", description=DESCRIPTION
    )
    parser.add_argument("labels", metavar="LABEL", nargs="+")
    parser.add_argument(
        "--priority",
        metavar="N",
        type=_priority,
        default=200,
        help="0 to 899, smaller is sooner; Zuul uses 100, 200, 300 (default: %(default)s)",
    )
    parser.add_argument("--tenant", metavar="NAME", help="count the nodes against this tenant's limits")
    parser.add_argument("--provider", metavar="NAME", help="prefer this provider")
    parser.add_argument(
        "--hold",
        metavar="SECONDS",
        type=seconds,
        help="give the nodes back after so long (default: at Ctrl-C)",
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="cancel when not fulfilled by then (default: wait)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    clock = SystemClock()
    wanted = Wanted(
        labels=tuple(args.labels), priority=args.priority, tenant=args.tenant, provider=args.provider
    )
    with session.opened(args) as store:
        with store.reading() as snapshot:
            warnings = label_warnings(wanted.labels, snapshot)
        for line in warnings:
            _tell(line)
        client = NodeClient(
            store, clock, requestor=REQUESTOR, ephemeral=True, user_data={"poolmgr": "request"}
        )
        visit = Visit(store, client, clock, tell=_tell)
        try:
            with stop_signals(visit.stop):
                return visit.run(
                    wanted,
                    timeout=args.timeout,
                    hold=args.hold,
                    show=lambda order: print(result_text(order, as_json=args.json), flush=True),
                )
        finally:
            client.close()


def result_text(order: Order, *, as_json: bool) -> str:
    """The nodes of a held order: how to reach them, and with JSON their host keys and whereabouts too."""
    rows = [node_result(order, index) for index in range(len(order.nodes))]
    if not as_json:
        return table_text(rows, COLUMNS)
    latency = None if order.latency is None else round(order.latency, 3)
    return json.dumps({"request": order.request.id, "latency_s": latency, "nodes": rows}, indent=2)


def node_result(order: Order, index: int) -> Row:
    """One node of the order as a row; `label` is the one that was asked for in its place."""
    node = order.nodes[index]
    return {
        "id": node.id,
        "label": order.wanted.labels[index],
        "provider": node.provider,
        "pool": node.pool,
        "cloud": node.cloud,
        "region": node.region,
        "az": node.az,
        "server_id": node.external_id,
        "interface_ip": node.interface_ip,
        "public_ipv4": node.public_ipv4,
        "private_ipv4": node.private_ipv4,
        "public_ipv6": node.public_ipv6,
        "connection_type": node.connection_type,
        "connection_port": node.connection_port,
        "username": node.username,
        "host_keys": list(node.host_keys),
        "resources": dict(node.resources) if node.resources is not None else None,
    }


def _priority(text: str) -> int:
    value = int(text)
    if not 0 <= value < 900:  # 900 is min-ready's, and three digits are all there is
        raise argparse.ArgumentTypeError(f"not between 0 and 899: {text}")
    return value


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

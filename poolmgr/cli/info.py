"""`poolmgr info`: what ZooKeeper holds about one provider."""

from __future__ import annotations

import argparse
import json
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.web.provider_views import notices, provider_rows
from poolmgr.web.table import table_text
from poolmgr.web.views import (
    PROVIDER_IMAGE_COLUMNS,
    PROVIDER_NODE_COLUMNS,
    provider_image_rows,
    provider_node_rows,
)

DESCRIPTION = """\
Show the image uploads and the nodes that ZooKeeper holds for one provider, and below them what operators have ordered
for it. The provider need not be in the configuration file (any more).

  poolmgr info rax-dfw
  poolmgr info rax-dfw --json
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "info", run, summary="show what is stored about a provider", description=DESCRIPTION
    )
    parser.add_argument("provider", metavar="PROVIDER")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    now = time.time()
    with session.opened(args) as store, store.reading() as snapshot:
        rows = provider_rows(snapshot, now=now)
        images = provider_image_rows(snapshot, args.provider)
        nodes = provider_node_rows(snapshot, args.provider)
    facts = [row for row in rows if row["provider"] == args.provider]
    if args.json:
        found = {"provider": args.provider, "images": images, "nodes": nodes, "facts": facts}
        print(json.dumps(found, indent=2, default=str))
        return 0
    print(f"ZooKeeper data for provider {args.provider}\n")
    print(table_text(images, PROVIDER_IMAGE_COLUMNS))
    print(table_text(nodes, PROVIDER_NODE_COLUMNS))
    for line in notices(facts, now=now):
        print(line)
    return 0

"""`poolmgr info`: what ZooKeeper holds about one provider."""

from __future__ import annotations

import argparse
import json

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.web.table import table_text
from poolmgr.web.views import (
    PROVIDER_IMAGE_COLUMNS,
    PROVIDER_NODE_COLUMNS,
    provider_image_rows,
    provider_node_rows,
)

DESCRIPTION = """\
Show the image uploads and the nodes that ZooKeeper holds for one provider. The provider need not be in the
configuration file (any more).

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
    with session.opened(args) as store, store.reading() as snapshot:
        images = provider_image_rows(snapshot, args.provider)
        nodes = provider_node_rows(snapshot, args.provider)
    if args.json:
        print(
            json.dumps({"provider": args.provider, "images": images, "nodes": nodes}, indent=2, default=str)
        )
        return 0
    print(f"ZooKeeper data for provider {args.provider}\n")
    print(table_text(images, PROVIDER_IMAGE_COLUMNS))
    print(table_text(nodes, PROVIDER_NODE_COLUMNS))
    return 0

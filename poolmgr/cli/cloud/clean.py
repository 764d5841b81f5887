"""`poolmgr cloud clean`: what killed programs left behind."""

from __future__ import annotations

import argparse
import json
import time

from poolmgr.cli.cloud.arguments import add_cloud
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.model.server import Owner
from poolmgr.policy.leftovers import Leftovers
from poolmgr.web.table import table_text
from poolmgr.web.views import Column, Row, age_text

DESCRIPTION = """\
List what `create-server`, or a program with poolmgr's library, left in the project because it was killed (kill -9,
power) in the middle, and delete it with --yes: servers half made ten minutes after their create call must have given
up, and floating IPs, ports and volumes of the library whose server is gone and that serve nothing else. What launchers
or others made is never touched, nor is a server that was finished once.

  poolmgr cloud clean north
  poolmgr cloud clean north --yes

With --yes it looks twice, ten seconds apart (a minute where ports are made before their servers), and deletes only what
it finds both times. Exit code 0: nothing was left, or it is only listed, or it is gone; 1: not all of it is gone.
"""

COLUMNS = (
    Column("kind", "Kind"),
    Column("id", "ID"),
    Column("name", "Name"),
    Column("age", "Age"),
    Column("call", "Create call"),
)


def add_to(verbs: Subcommands) -> None:
    parser = add_command(
        verbs, "clean", run, summary="delete what killed programs left", description=DESCRIPTION
    )
    add_cloud(parser)
    parser.add_argument("--yes", action="store_true", help="delete it")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from poolmgr.cloud import connect

    with connect(args.cloud, args.region, env=args.env) as cloud:
        found = cloud.leftovers()
        deleted = cloud.clean(found) if args.yes and found else Leftovers()
    shown = rows(deleted if args.yes else found, now=time.time())
    if args.json:
        print(json.dumps(shown, indent=2))
    elif shown:
        print(table_text(shown, COLUMNS))
        print("deleted" if args.yes else "to delete it, repeat this with --yes")
    else:
        print("nothing is left over")
    return 0


def rows(found: Leftovers, *, now: float) -> list[Row]:
    """Everything that is left over, kind by kind, each by name. `now`: epoch seconds."""
    shown = [_row("server", s.id, s.name, s.owner, s.created_at, now) for s in found.servers]
    shown += [_row("floating IP", ip.id, ip.address, ip.owner, None, now) for ip in found.floating_ips]
    shown += [_row("port", p.id, "", p.owner, None, now) for p in found.ports]
    shown += [_row("volume", v.id, v.name, v.owner, v.created_at, now) for v in found.volumes]
    return shown


def _row(kind: str, thing: str, name: str, owner: Owner | None, made_at: float | None, now: float) -> Row:
    age = "" if made_at is None else age_text(now - made_at)
    return {"kind": kind, "id": thing, "name": name, "age": age, "call": owner.node_id if owner else ""}

"""`poolmgr reclaim`: what the fuse holds back, and letting it go."""

from __future__ import annotations

import argparse
import json
import sys
import time

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.person import confirm, counted, did_you_mean, user_at_host
from poolmgr.errors import Refused
from poolmgr.model.fleet import ProviderStatus, ReclaimApproval
from poolmgr.web.views import age_text

DESCRIPTION = """\
Show the deletions that launchers hold back. When more servers, addresses, ports, volumes or nodes seem to belong to
nobody than `reclaim-fuse` allows, nothing of it is deleted until someone has looked: it may be the wrong ZooKeeper, or
a list of the wrong project. The log of the provider's launcher names the reason.

  poolmgr reclaim
  poolmgr reclaim --approve rax-dfw
  poolmgr reclaim --approve rax-dfw --yes

An approval counts once, for as many as are shown; if there are more by then, all are held back again.
"""


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "reclaim", run, summary="show or approve deletions held back", description=DESCRIPTION
    )
    parser.add_argument("--approve", metavar="PROVIDER", help="let go what is held back there")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    with session.opened(args) as store:
        with store.reading() as snapshot:
            # What a launcher that died has told stands until another has looked.
            held = {one.provider: one for one in snapshot.provider_statuses() if one.held_back}
        if args.approve is None:
            _show(held, as_json=args.json)
            return 0
        status = held.get(args.approve)
        if status is None:
            raise Refused(
                f"nothing is held back for provider {args.approve}",
                remedy=did_you_mean(args.approve, held) if held else "`poolmgr reclaim` shows what is",
            )
        count = sum(status.held_back.values())
        print(_text(status, time.time()), file=sys.stderr)
        confirm(count, f"{counted(count, 'thing')} of {args.approve} will be deleted", yes=args.yes)
        now = time.time()
        store.approve_reclaim(ReclaimApproval(provider=args.approve, at=now, up_to=count, by=user_at_host()))
    print(f"approved: up to {counted(count, 'deletion')} for provider {args.approve}")
    return 0


def _show(held: dict[str, ProviderStatus], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"provider": name, "held_back": dict(one.held_back), "held_since": one.held_since}
            for name, one in sorted(held.items())
        ]
        print(json.dumps(rows))
        return
    now = time.time()
    for _, one in sorted(held.items()):
        print(_text(one, now))
    if not held:
        print("nothing is held back")


def _text(status: ProviderStatus, now: float) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(status.held_back.items()))
    age = f", since {age_text(now - status.held_since)}" if status.held_since is not None else ""
    return f"provider {status.provider}: {sum(status.held_back.values())} held back{age}: {kinds}"

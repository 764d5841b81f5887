"""`poolmgr provider`: pause, drain or limit a provider at run time, and see how all of them stand."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.durations import duration
from poolmgr.cli.person import did_you_mean, user_at_host
from poolmgr.cli.table import print_rows
from poolmgr.config.settings import Settings
from poolmgr.errors import Refused
from poolmgr.model.fleet import ProviderMode, ProviderOrder
from poolmgr.policy.orders import configured_servers, standing
from poolmgr.store.api import Store
from poolmgr.web.provider_views import PROVIDER_COLUMNS, known_providers, order_text, provider_rows

DESCRIPTION = """\
Say at run time what a provider is to do, without touching any configuration. The order is kept in ZooKeeper: it counts
for all launchers at once, survives their restarts, and ends by itself with --for. Requests never fail by it: other
providers serve them, or they wait.

  poolmgr provider list
  poolmgr provider pause rax-dfw --for 2h --reason "maintenance until noon"
  poolmgr provider drain rax-dfw --reason "quota is given back on Friday"
  poolmgr provider limit rax-dfw --max-servers 20 --for 1d
  poolmgr provider resume rax-dfw
"""
LIST = """\
Show every provider that a configuration or a record tells of: its mode, who works for it, what is ordered, alarms.

  poolmgr provider list
  poolmgr provider list --json | jq -r '.[] | select(.mode != "running") | .provider'
"""
PAUSE = """\
Have a provider take no request and launch nothing. What it has lives on: launches that have begun are finished, jobs
run, ready nodes stay where they are and are given out again after the pause.

  poolmgr provider pause rax-dfw
  poolmgr provider pause rax-dfw --for 2h --reason "maintenance until noon"
"""
DRAIN = """\
Empty a provider: as a pause, and its free ready nodes are deleted. Nodes that jobs use go when these end, nodes on hold
stay until someone deletes them. `poolmgr provider list` shows how many are left.

  poolmgr provider drain rax-dfw --reason "quota is given back on Friday"
"""
RESUME = """\
Withdraw what was ordered for a provider: it runs as configured. With --max-servers it runs with that limit.

  poolmgr provider resume rax-dfw
  poolmgr provider resume rax-dfw --max-servers 10 --for 1h --reason "gently at first"
"""
LIMIT = """\
Have a provider use fewer servers than configured, over all its pools together. Nodes beyond the limit are not taken
away: the provider launches none until enough have gone. With 0 its ready nodes are still given out.

  poolmgr provider limit rax-dfw --max-servers 20
  poolmgr provider limit rax-dfw --max-servers 20 --for 1d --reason "the neighbours need room"
"""
FORCED = "give the order also for a provider that neither this configuration nor ZooKeeper knows"


def add_to(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "provider",
        help="pause, drain or limit a provider",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_json(add_command(actions, "list", run_list, summary="show all providers", description=LIST))
    _add_order(actions, "pause", run_pause, "take no requests", PAUSE)
    _add_order(actions, "drain", run_drain, "take no requests, delete free nodes", DRAIN)
    _add_order(actions, "resume", run_resume, "run as configured again", RESUME)
    _add_order(actions, "limit", run_limit, "use fewer servers", LIMIT, limit_needed=True)


def _add_order(
    actions: Subcommands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    *,
    limit_needed: bool = False,
) -> None:
    parser = add_command(actions, name, run, summary=summary, description=description)
    parser.add_argument("provider", metavar="PROVIDER")
    parser.add_argument(
        "--max-servers",
        metavar="N",
        type=_limit,
        required=limit_needed,
        help="servers over all its pools; the smaller of this and the configured number counts",
    )
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        type=duration,
        help="end by itself after so long: 90s, 30m, 2h, 1d",
    )
    parser.add_argument("--reason", metavar="TEXT", help="shown to whoever looks")
    parser.add_argument("--force", action="store_true", help=FORCED)


def _limit(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative: {text}")
    return value


def run_list(args: argparse.Namespace) -> int:
    settings = session.load_settings(args)
    with session.opened(args, settings) as store, store.reading() as snapshot:
        now = time.time()
        rows = provider_rows(snapshot, now=now, configured=settings.providers)
    print_rows(rows, PROVIDER_COLUMNS, as_json=args.json, now=now)
    return 0


def run_pause(args: argparse.Namespace) -> int:
    return _give(args, ProviderMode.PAUSED)


def run_drain(args: argparse.Namespace) -> int:
    return _give(args, ProviderMode.DRAINING)


def run_limit(args: argparse.Namespace) -> int:
    return _give(args, ProviderMode.RUNNING, keeps_closed=True)


def run_resume(args: argparse.Namespace) -> int:
    if args.max_servers is not None:
        return _give(args, ProviderMode.RUNNING)
    if args.duration is not None:
        raise Refused(
            "a provider that is resumed runs until someone orders something else",
            remedy="--for goes with --max-servers",
        )
    settings = session.load_settings(args)
    with session.opened(args, settings) as store:
        if store.withdraw_provider_order(args.provider):
            print(f"provider {args.provider} runs as configured")
            return 0
        require_known(store, settings, args.provider, force=args.force)
    print(f"nothing was ordered for provider {args.provider}", file=sys.stderr)
    return 0


def _give(args: argparse.Namespace, mode: ProviderMode, *, keeps_closed: bool = False) -> int:
    """Let the order stand and show it. `keeps_closed`: not for a provider that is paused or drained."""
    settings = session.load_settings(args)
    with session.opened(args, settings) as store:
        require_known(store, settings, args.provider, force=args.force)
        now = time.time()
        with store.reading() as snapshot:
            before = standing(snapshot.provider_order(args.provider), now=now)
        if keeps_closed and before.closed:
            raise Refused(
                f"provider {args.provider} is {before.closed}, and a limit would end that",
                remedy=f"`poolmgr provider resume {args.provider} --max-servers {args.max_servers}` does both",
            )
        order = ProviderOrder(
            provider=args.provider,
            mode=mode,
            max_servers=args.max_servers,
            since=now,
            until=None if args.duration is None else now + args.duration,
            by=user_at_host(),
            reason=args.reason,
        )
        store.order_provider(order)
        _warn(settings, order)
        with store.reading() as snapshot:
            rows = provider_rows(snapshot, now=now, configured=settings.providers)
    print(*(order_text(row, now=now) for row in rows if row["provider"] == args.provider))
    if before.order is not None:
        whose = f" by {before.order.by}" if before.order.by else ""
        print(f"it was {before.mode.value} before{whose}; that order is replaced", file=sys.stderr)
    return 0


def _warn(settings: Settings, order: ProviderOrder) -> None:
    if order.max_servers is None:
        return
    if order.mode is not ProviderMode.RUNNING:
        print(
            f"while it is {order.mode.value} it launches nothing: --max-servers changes nothing now",
            file=sys.stderr,
        )
    provider = settings.providers.get(order.provider)
    if provider is not None and order.max_servers > (configured := configured_servers(provider)):
        print(
            f"max-servers of {order.provider} is {configured:g} in this configuration: the smaller number counts",
            file=sys.stderr,
        )


def require_known(store: Store, settings: Settings, provider: str, *, force: bool) -> None:
    """Raises Refused when neither this configuration nor the store has such a provider, unless it is forced."""
    with store.reading() as snapshot:
        known = known_providers(snapshot, settings.providers)
    if provider not in known and not force:
        names = f"; there are {', '.join(known)}" if len(known) <= 10 and known else ""
        raise Refused(
            f"there is no provider {provider}, neither in this configuration nor in ZooKeeper{names}",
            remedy=f"{did_you_mean(provider, known)} (--force gives the order all the same)",
        )

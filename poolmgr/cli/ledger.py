"""`poolmgr ledger`: what launchers have deleted in clouds, and why."""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.durations import duration
from poolmgr.errors import PoolmgrError, Refused
from poolmgr.observe import ledger

DESCRIPTION = """\
Show the last 1,000 lines of the ledger: each deletion in a cloud has one before the call and one after it, with what
was deleted, whose it was, why, and on which evidence. Without --url the file that `ledger` in the configuration names
is read, as it is on this host.

  poolmgr ledger --since 2h
  poolmgr ledger --node 0000012345
  poolmgr ledger --kind server --json | jq -r 'select(.event == "delete") | .id'
  poolmgr ledger --url http://launcher1:8005
"""
LINES = 1000
TIMEOUT = 10.0


def add_to(commands: Subcommands) -> None:
    parser = add_command(commands, "ledger", run, summary="show what was deleted", description=DESCRIPTION)
    parser.add_argument("--provider", metavar="PROVIDER")
    parser.add_argument("--node", metavar="NODE")
    parser.add_argument("--kind", metavar="KIND", help="server, port, floating-ip, volume")
    parser.add_argument("--since", metavar="DURATION", type=duration, help="not older than: 90s, 30m, 2h, 1d")
    parser.add_argument("--url", metavar="URL", help="ask a running launcher for its own")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    lines = _fetched(args.url) if args.url else _read(args)
    oldest = None if args.since is None else time.time() - args.since
    wanted = {key: value for key in ("provider", "node", "kind") if (value := getattr(args, key)) is not None}
    for line in chosen(lines, wanted, oldest=oldest)[-LINES:]:
        print(json.dumps(line) if args.json else text(line))
    return 0


def chosen(
    lines: Iterable[Mapping[str, Any]], wanted: Mapping[str, str], *, oldest: float | None
) -> list[Mapping[str, Any]]:
    """Those that have all of `wanted`, from `oldest` on (epoch seconds)."""
    return [
        line
        for line in lines
        if all(line.get(key) == value for key, value in wanted.items())
        and (oldest is None or float(line.get("time") or 0.0) >= oldest)
    ]


def text(line: Mapping[str, Any]) -> str:
    """One line for people."""
    at = datetime.fromtimestamp(float(line.get("time") or 0.0), UTC).strftime("%Y-%m-%d %H:%M:%S")
    what = f"{at}  {line.get('provider', '')}  {line.get('kind', '')} {line.get('id', '')}"
    node = f"  node {line['node']}" if line.get("node") else ""
    if line.get("event") == "outcome":
        return f"{what}{node}  -> {line.get('outcome')}"
    evidence = f"  {json.dumps(line['evidence'])}" if line.get("evidence") else ""
    return f"{what}{node}  {line.get('why', '')}{evidence}"


def _read(args: argparse.Namespace) -> list[dict[str, Any]]:
    path = session.load_settings(args).ledger
    if path is None:
        raise Refused(
            "the configuration names no ledger file",
            remedy="set `ledger: /var/log/nodepool/ledger.jsonl`, or ask a launcher: --url http://HOST:8005",
        )
    try:
        return ledger.read(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PoolmgrError(f"the ledger cannot be read: {error}") from error


def _fetched(url: str) -> list[dict[str, Any]]:
    whole = f"{url.rstrip('/')}/ledger"
    if not whole.startswith(("http://", "https://")):
        raise Refused(f"{url} is no URL of a launcher", remedy="write it as http://HOST:8005")
    try:
        with urllib.request.urlopen(whole, timeout=TIMEOUT) as answer:
            found = json.load(answer)
    except (OSError, ValueError) as error:
        raise PoolmgrError(f"no ledger from {whole}: {error}") from error
    return [line for line in found if isinstance(line, dict)] if isinstance(found, list) else []

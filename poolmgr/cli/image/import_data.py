"""`poolmgr import-image-data`: put a backup of image records back."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from poolmgr.cli import session
from poolmgr.cli.commandline import Subcommands, add_command, add_json
from poolmgr.cli.person import confirm, counted
from poolmgr.cli.table import print_rows
from poolmgr.errors import BadRecord, Refused
from poolmgr.model.component import ComponentKind
from poolmgr.store.api import Store
from poolmgr.store.image_data import check
from poolmgr.web.views import Column, Row

DESCRIPTION = """\
Write the records of a file that `poolmgr export-image-data`, or Nodepool, has made back into ZooKeeper. Stop all
launchers and builders first: what they do meanwhile may be undone. Records that are in ZooKeeper but not in the file
stay as they are. A file with anything in it that is no such record changes nothing.

  poolmgr import-image-data --dry-run /var/backups/image-data.json
  poolmgr import-image-data /var/backups/image-data.json

--dry-run shows, record by record, what would be done. You are asked, unless --yes, when records would be overwritten
or daemons run. Exit code 1: nothing was written.
"""

COLUMNS = (Column("action", "Action"), Column("path", "Path"))


def add_to(commands: Subcommands) -> None:
    parser = add_command(
        commands, "import-image-data", run, summary="put image records back", description=DESCRIPTION
    )
    parser.add_argument("path", metavar="FILE")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    data = read(Path(args.path).expanduser())
    with session.opened(args) as store:
        rows = planned(data, store.image_data())
        if args.dry_run:
            print_rows(rows, COLUMNS, as_json=args.json)
            return 0
        _ask(store, rows, yes=args.yes)
        store.restore_image_data(data)
    if args.json:
        print_rows(rows, COLUMNS, as_json=True)
    print(summary(rows), file=sys.stderr)
    return 0


def read(path: Path) -> dict[str, str]:
    """The records in a file, by path, all of which can be written. Raises Refused, with what is wrong with it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8 either
        raise Refused(f"{path} is not the JSON of an export: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise Refused(f"{path} is not an export: that is one JSON object of texts by path")
    try:
        check(data)
    except BadRecord as error:
        raise Refused(f"{path}: {error}; nothing was written") from error
    return data


def planned(data: Mapping[str, str], present: Mapping[str, str]) -> list[Row]:
    """What happens to each record of `data`, by path: `create`, `overwrite`, `same`."""
    return [{"action": _action(text, present.get(path)), "path": path} for path, text in sorted(data.items())]


def summary(rows: list[Row]) -> str:
    counts = Counter(row["action"] for row in rows)
    parts = (("create", "made"), ("overwrite", "overwritten"), ("same", "the same as they were"))
    return f"{counted(len(rows), 'record')}: " + ", ".join(f"{counts[key]} {text}" for key, text in parts)


def _action(text: str, present: str | None) -> str:
    if present is None:
        return "create"
    return "same" if text == present else "overwrite"


def _ask(store: Store, rows: list[Row], *, yes: bool) -> None:
    with store.reading() as snapshot:
        running = [c.hostname for kind in ComponentKind for c in snapshot.components(kind)]
    warnings = []
    if running:
        warnings.append(f"launchers or builders are running on {', '.join(sorted(set(running)))}")
    overwritten = sum(row["action"] == "overwrite" for row in rows)
    if overwritten:
        warnings.append(f"{counted(overwritten, 'record')} will be overwritten")
    if warnings:
        confirm(len(rows), "; ".join(warnings), yes=yes)

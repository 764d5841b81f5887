"""How results are printed: as a table, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from poolmgr.web.table import table_text
from poolmgr.web.views import Column, Row


def print_rows(rows: Sequence[Row], columns: Sequence[Column], *, as_json: bool, now: float = 0.0) -> None:
    """Print `rows`: all their keys as a bare JSON array, or `columns` of them as a table.

    `now`, in epoch seconds, is for columns that show a time as an age.
    """
    print(json.dumps(rows, indent=2, default=str) if as_json else table_text(rows, columns, now=now))


def ask_about(rows: Sequence[Row], columns: Sequence[Column], *, now: float = 0.0) -> None:
    """Show `rows` to the person who is asked about them: on stderr, stdout is for results."""
    print(table_text(rows, columns, now=now), file=sys.stderr)

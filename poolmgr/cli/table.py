"""How results are printed: the ASCII table of the reference, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from prettytable import PrettyTable

from poolmgr.web.views import Column, Row, cells


def table_text(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Left-aligned, borders of `+-|`, the header there even with no rows (cli-web.md 1)."""
    table = PrettyTable([column.title for column in columns])
    table.align = "l"
    table.add_rows(cells(rows, columns))
    return str(table.get_string())


def print_rows(rows: Sequence[Row], columns: Sequence[Column], *, as_json: bool) -> None:
    """Print `rows`: all their keys as a bare JSON array, or `columns` of them as a table."""
    print(json.dumps(rows, indent=2, default=str) if as_json else table_text(rows, columns))

"""Rows as the ASCII table of the reference: what commands print, and browsers get."""

from __future__ import annotations

from collections.abc import Sequence

from prettytable import PrettyTable

from poolmgr.web.views import Column, Row, cells


def table_text(rows: Sequence[Row], columns: Sequence[Column], *, now: float = 0.0) -> str:
    """Left-aligned, borders of `+-|`, the header there even with no rows (cli-web.md 1). `now`: epoch seconds."""
    table = PrettyTable([column.title for column in columns])
    table.align = "l"
    table.add_rows(cells(rows, columns, now))
    return str(table.get_string())

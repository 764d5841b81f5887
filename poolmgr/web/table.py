"""Rows as the ASCII table of the reference: what commands print, and browsers get.

A launcher may have thousands of nodes and be asked every second, so plain texts are set here, twenty times as fast as
by prettytable; that one is asked where characters are not all one column wide, or a cell has several lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from prettytable import PrettyTable

from poolmgr.web.views import Column, Row, cells


def table_text(rows: Sequence[Row], columns: Sequence[Column], *, now: float = 0.0) -> str:
    """Left-aligned, borders of `+-|`, the header there even with no rows (cli-web.md 1). `now`: epoch seconds."""
    titles = [column.title for column in columns]
    lines = cells(rows, columns, now)
    return _plain(titles, lines) if _is_plain(lines) else _pretty(titles, lines)


def _is_plain(lines: Sequence[Sequence[str]]) -> bool:
    return all(text.isascii() and text.isprintable() for line in lines for text in line)


def _plain(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    border = f"+{'+'.join('-' * (width + 2) for width in widths)}+"
    template = f"|{'|'.join(f' {{:<{width}}} ' for width in widths)}|"
    shown = (template.format(*line) for line in lines)
    return "\n".join((border, template.format(*titles), border, *shown, border))


def _pretty(titles: Sequence[str], lines: Sequence[list[str]]) -> str:
    table = PrettyTable(titles)
    table.align = "l"
    table.add_rows(lines)
    return str(table.get_string())

"""The printed table."""

import json

import pytest

from poolmgr.cli.table import print_rows
from poolmgr.web import table
from poolmgr.web.table import table_text
from poolmgr.web.views import Column

COLUMNS = (Column("a", "First"), Column("b", "Second"))


def test_the_table_has_ascii_borders_and_stands_left():
    text = table_text([{"a": "x", "b": ["1", "2"]}], COLUMNS)
    assert text.splitlines() == [
        "+-------+--------+",
        "| First | Second |",
        "+-------+--------+",
        "| x     | 1,2    |",
        "+-------+--------+",
    ]


def test_the_header_is_there_without_rows():
    assert "| First | Second |" in table_text([], COLUMNS)


@pytest.mark.parametrize(
    "rows", [[], [("x", "y")], [("", ""), ("long enough", "b")], [("{0}", "%s")], [("a",)] * 3]
)
def test_both_ways_to_set_a_table_agree(rows):
    titles = ["First", "Second"][: len(rows[0])] if rows else ["First", "Second"]
    assert table._plain(titles, rows) == table._pretty(titles, rows)


def test_a_cell_of_several_lines_stays_in_its_column():
    lines = table_text([{"a": "two\nlines", "b": "x"}], COLUMNS).splitlines()
    assert lines[3:5] == ["| two   | x      |", "| lines |        |"]


def test_no_column_at_all_is_an_empty_frame():
    assert table_text([{}, {}], ()).splitlines() == ["++", "||", "++", "||", "||", "++"]


def test_json_has_all_keys_and_is_a_bare_array(capsys):
    print_rows([{"a": 1, "b": None, "hidden": [2]}], COLUMNS, as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "b": None, "hidden": [2]}]

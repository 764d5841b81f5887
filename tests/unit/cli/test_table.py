"""The printed table."""

import json

from poolmgr.cli.table import print_rows
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


def test_json_has_all_keys_and_is_a_bare_array(capsys):
    print_rows([{"a": 1, "b": None, "hidden": [2]}], COLUMNS, as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "b": None, "hidden": [2]}]

from __future__ import annotations

import pytest

from poolmgr.config.document import parse_document
from poolmgr.config.interpolation import expand


def read(text, **environ):
    return parse_document(text, file="f", environ=environ)


@pytest.mark.parametrize(
    ("text", "environ", "expanded"),
    [
        ("a: %(NODEPOOL_X)", {"NODEPOOL_X": "1"}, "a: 1"),
        ("%(NODEPOOL_K): b", {"NODEPOOL_K": "key"}, "key: b"),
        ("a: '%(NODEPOOL_X)%(NODEPOOL_Y)'", {"NODEPOOL_X": "1", "NODEPOOL_Y": "2"}, "a: '12'"),
        ("# %(NODEPOOL_X)", {"NODEPOOL_X": "in comments, too"}, "# in comments, too"),
        ("a: '%(HOME)'", {"HOME": "/root"}, "a: '%(HOME)'"),  # only our own prefix
        ("a: '%(NODEPOOL_X)s'", {"NODEPOOL_X": "1"}, "a: '1s'"),  # it is not the format of Python
        ("a: '${NODEPOOL_X}'", {"NODEPOOL_X": "1"}, "a: '${NODEPOOL_X}'"),
        ("a: '%(NODEPOOL_X)'", {"NODEPOOL_X": ""}, "a: ''"),
        ("a: '%(NODEPOOL_X)'", {}, "a: '%(NODEPOOL_X)'"),
    ],
)
def test_only_set_variables_with_our_prefix_are_replaced(text, environ, expanded):
    assert expand(text, environ).text == expanded


@pytest.mark.parametrize("order", [("NODEPOOL_A", "NODEPOOL_B"), ("NODEPOOL_B", "NODEPOOL_A")])
def test_a_value_is_not_expanded_again_whatever_the_order_of_the_environment(order):
    values = {"NODEPOOL_A": "%(NODEPOOL_B)", "NODEPOOL_B": "%(NODEPOOL_A)"}
    environ = {name: values[name] for name in order}
    assert expand("%(NODEPOOL_A) %(NODEPOOL_B)", environ).text == "%(NODEPOOL_B) %(NODEPOOL_A)"


def test_a_number_becomes_a_number_and_a_value_may_be_yaml():
    assert read("port: %(NODEPOOL_PORT)", NODEPOOL_PORT="8005").data == {"port": 8005}
    assert read("a: %(NODEPOOL_LIST)", NODEPOOL_LIST="[1, {b: 2}]").data == {"a": [1, {"b": 2}]}


def test_an_unset_variable_as_a_value_is_named_with_its_line():
    [problem] = read("a: 1\nb:\n  c: %(NODEPOOL_PORT)\n").problems
    assert str(problem) == (
        "f:3:6: error: environment variable NODEPOOL_PORT is not set; found %(NODEPOOL_PORT); "
        "set NODEPOOL_PORT or quote the value"
    )


def test_an_unset_variable_in_quotes_stays_as_text_and_is_a_warning():
    document = read("a: 1\nb: ['x', '%(NODEPOOL_PORT)']\n")
    assert document.data["b"][1] == "%(NODEPOOL_PORT)"
    assert [str(p) for p in document.problems] == [
        "f:2:10: warning: b[1]: environment variable NODEPOOL_PORT is not set; %(NODEPOOL_PORT) stays as text"
    ]


def test_an_unset_variable_in_a_comment_matters_to_nobody():
    assert read("a: 1 # %(NODEPOOL_PORT)\n").problems == ()


def test_a_variable_brought_in_by_another_is_a_warning():
    [problem] = read("a: '%(NODEPOOL_A)'", NODEPOOL_A="%(NODEPOOL_B)", NODEPOOL_B="x").problems
    assert "is not expanded again" in problem.what


def test_lines_and_columns_are_those_of_the_file_as_written():
    document = read("a: %(NODEPOOL_MANY)\nb: %(NODEPOOL_LONG) # c\nc: {d: %(NODEPOOL_X), e: f}\n"
                    "g: [\n", NODEPOOL_MANY="'1\n\n\n 2'", NODEPOOL_LONG="y" * 50, NODEPOOL_X="1")  # fmt: skip
    assert document.problems[0].line == 5  # the end of the file as written
    document = read(
        "a: %(NODEPOOL_MANY)\nc: {d: %(NODEPOOL_X), e: f}\n", NODEPOOL_MANY="'1\n\n 2'", NODEPOOL_X="12345"
    )
    place = document.place(("c", "e"))
    assert (place.line, place.column) == (2, 26)


def test_values_out_of_the_environment_may_be_secret():
    document = read("a: %(NODEPOOL_X)\nb: 'x%(NODEPOOL_X)'\nc: plain\n", NODEPOOL_X="hunter2")
    assert [document.may_be_secret((key,)) for key in "abc"] == [True, True, False]
    assert "hunter2" not in str(document.problem(("a",), "wrong value"))

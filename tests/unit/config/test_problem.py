from __future__ import annotations

import pytest

from poolmgr.config.problem import Problem, Severity, did_you_mean, in_order, path_text, refuse_errors, shown
from poolmgr.errors import ConfigError


def problem(**fields):
    return Problem(**{"severity": Severity.ERROR, "file": "f", "what": "wrong value", **fields})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("providers", 1, "pools", 0, "labels", 2, "min-ram"), "providers[1].pools[0].labels[2].min-ram"),
        (("a", "b c"), "a.b c"),
        (("a", "x: y"), "a.'x: y'"),
        ((True, None), "True.None"),
        ((), ""),
    ],
)
def test_path_text(path, text):
    assert path_text(path) == text


def test_a_problem_is_one_line_whatever_it_holds():
    text = str(problem(file="a\nb", path=("k\ney",), what="w\x1b[2J", found="'\u2028'", line=1, column=2))
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_a_problem_of_a_file_has_no_line():
    assert str(problem(what="cannot read the file")) == "f: error: cannot read the file"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("min-ran", "did you mean 'min-ram'?"),
        ("min_ram", "did you mean 'min-ram'?"),
        ("Min-RAM", "did you mean 'min-ram'?"),
        ("colour", ""),
        (7, ""),
    ],
)
def test_did_you_mean(word, hint):
    assert did_you_mean(word, ["name", "min-ram"]) == hint


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing (null)"),
        ({"a": "secret"}, "a mapping"),
        (["secret"], "a list"),
        ("x" * 100, "'" + "x" * 56 + "..."),
    ],
)
def test_containers_and_long_texts_are_not_shown_in_full(value, text):
    assert shown(value) == text


def test_one_defect_used_by_several_aliases_is_one_line():
    paths = [("p", i, "x") for i in range(3)]
    [line] = in_order([problem(path=path, line=4, column=1) for path in paths])
    assert str(line) == "f:4:1: error: p[0].x: wrong value; the same at 2 more places by alias"


def test_problems_come_in_the_order_of_the_file():
    lines = [problem(line=line, file=file, what=str(line)) for file, line in [("b", 9), ("a", 5), ("b", 2)]]
    assert [(p.file, p.line) for p in in_order(lines)] == [("b", 2), ("b", 9), ("a", 5)]


def test_errors_are_refused_with_all_lines_and_warnings_alone_are_not():
    warning = problem(severity=Severity.WARNING, line=1, column=1, what="odd")
    refuse_errors([warning])
    errors = [problem(line=line, column=1) for line in (3, 2)]
    with pytest.raises(ConfigError, match=r"^f:2:1: error: wrong value \(and 1 more\)$") as caught:
        refuse_errors([warning, *errors])
    assert [line.split(":")[1] for line in caught.value.problems] == ["1", "2", "3"]

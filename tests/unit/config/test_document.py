from __future__ import annotations

import pytest
import yaml

from poolmgr.config.document import Place, document_of, parse_document, read_document
from poolmgr.config.problem import Severity

TEXT = """\
anchors:
  - &one {name: one, size: 1}
  - &two
    name: two
    "odd key": [a, b]
merged:
  <<: [*two, *one]
  size: 3
copy: *two
"""


def read(text, **options):
    return parse_document(text, file="f.yaml", environ={}, **options)


def at(line, column):
    return Place(file="f.yaml", line=line, column=column)


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("anchors",), at(2, 3), at(1, 1)),
        (("anchors", 0), at(2, 5), at(2, 5)),  # where the anchor stands
        (("anchors", 0, "size"), at(2, 28), at(2, 22)),
        (("anchors", 1, "odd key", 1), at(5, 20), at(5, 20)),
        (("merged", "size"), at(8, 9), at(8, 3)),
        (("merged", "name"), at(4, 11), at(4, 5)),  # where a merged key was written
        (("copy", "name"), at(4, 11), at(4, 5)),
        (("copy", "none", "deeper"), at(3, 5), at(9, 1)),  # of what is there of the path
        ((), at(1, 1), at(1, 1)),
    ],
)
def test_every_key_and_value_has_a_place(path, value, key):
    document = read(TEXT)
    assert document.place(path) == value
    assert document.place(path, key=True) == key


def test_the_data_is_that_of_the_safe_loader():
    assert read(TEXT).data == yaml.safe_load(TEXT)


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        ("a: [1, 2\nb: 3\n", 2, 2, "flow sequence"),
        ("a: 1\n b: 2\n", 2, 3, "mapping values are not allowed here"),
        ("a: *nobody", 1, 4, "undefined alias 'nobody'"),
        ("a: 'b", 1, 6, "unexpected end"),
        ("a: 1\nb: !thing {}\n", 2, 4, "'!thing'"),
        ("a: !!python/object/apply:os.system [date]", 1, 4, "python/object"),
        ("a: 1\n--- {}\n", 2, 1, "another document"),
        ("a: 2024-99-99", 1, 4, "not a valid timestamp"),
        ("a: !!bool maybe", 1, 4, "not a valid bool"),
        ("a: !!int ''", 1, 4, "not a valid int"),
        ("a: 0x_", 1, 4, "not a valid int"),
        ("? {a: b}\n: 1", 1, 3, "cannot be a key"),
        ("a: {<<: 1}", 1, 9, "merging"),
        ("a: \x07", 1, 4, "U+0007"),
        ("a: &a [1, *a]", 1, 4, "alias inside of what it names"),
        ("a: &a\n  b: {<<: *a}", 1, 4, "alias inside of what it names"),
    ],
)
def test_what_is_not_yaml_is_one_error_with_line_and_column(text, line, column, what):
    document = read(text)
    [problem] = document.problems
    assert document.data is None
    assert problem.severity is Severity.ERROR
    assert (problem.line, problem.column) == (line, column)
    assert what in str(problem)


def test_a_syntax_error_does_not_quote_the_file():
    [problem] = read("password: hunter2 : x\n").problems
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize("text", ["[" * 3000, "{a: " * 3000, "- " * 3000 + "a"])
def test_deep_nesting_is_an_error(text):
    [problem] = read(text).problems
    assert problem.what == "nested too deeply"


def test_aliases_that_explode_are_an_error_at_once():
    lists = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 30))
    [problem] = read("l0: &l0 [x]\n" + lists).problems
    assert "aliases expand to more than" in problem.what
    merges = "".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}]}}\n" for i in range(1, 30))
    [problem] = read("m0: &m0 {x: 1}\n" + merges).problems
    assert "aliases expand to more than" in problem.what


def test_a_repeated_key_is_reported_and_the_last_one_counts():
    document = read("a: 1\nb:\n  - c: 1\n    d: 2\n    c: 3\n")
    assert document.data == {"a": 1, "b": [{"c": 3, "d": 2}]}
    assert [str(p) for p in document.problems] == [
        "f.yaml:5:5: warning: b[0].c: the key is repeated; it stands on line 3 already; only the last one counts"
    ]


def test_a_repeated_key_is_an_error_when_strict():
    assert [p.severity for p in read("a: 1\na: 2\n", strict=True).problems] == [Severity.ERROR]


def test_overriding_a_merged_key_is_no_repetition():
    assert read("a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: {<<: *a, <<: *a}\n").problems == ()


def test_what_a_repeated_key_threw_away_lends_its_place_to_nobody():
    text = "".join(f"k: {{a{i}: [1, 2, 3]}}\n" for i in range(200)) + "z: {y: {x: w}}\n"
    document = read(text)
    assert document.place(("z", "y", "x")) == at(201, 12)
    assert document.place(("k", "a0")) == document.place(("k",))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file_has_no_data(text):
    document = read(text)
    assert (document.data, document.problems) == (None, ())


def test_a_byte_order_mark_and_foreign_line_ends_are_no_trouble():
    document = parse_document("\ufeffa: 1\r\nb: {c: 2}\r\n", file="f.yaml", environ={})
    assert document.data == {"a": 1, "b": {"c": 2}}
    assert document.place(("b", "c")) == at(2, 8)


def test_problems_name_the_list_entries_on_the_way():
    document = read("providers:\n  - name: north\n    pools:\n      - name: main\n        size: big\n")
    problem = document.problem(("providers", 0, "pools", 0, "size"), "wrong value", allowed="a number")
    assert str(problem) == (
        "f.yaml:5:15: error: providers[0].pools[0].size: wrong value; found 'big'; allowed: a number "
        "(in provider north, pool main)"
    )


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path):
    assert "No such file" in str(read_document(str(tmp_path / "none"), environ={}).problems[0])
    assert "directory" in str(read_document(str(tmp_path), environ={}).problems[0])


def test_a_file_that_is_not_utf8_is_a_problem_with_its_line(tmp_path):
    (tmp_path / "latin").write_bytes(b"a: 1\nb: caf\xe9\n")
    [problem] = read_document(str(tmp_path / "latin"), environ={}).problems
    assert (problem.line, problem.what, problem.found) == (2, "not UTF-8 text", "byte 0xe9")


def test_data_that_no_file_holds_has_paths_and_no_lines():
    data = {"networks": [{"name": "wan", "size": 5}], "flags": ("a",)}
    document = document_of(data, origin="argument")
    assert document.value(("networks", 0, "size")) == 5
    assert document.value(("flags", 0)) == "a"
    assert document.value(("networks", 1)) is None
    assert document.place(("networks",)) == Place(file="argument", line=0, column=0)
    problem = document.problem(("networks", 0, "size"), "wrong value")
    assert str(problem) == "argument: error: networks[0].size: wrong value; found 5 (in network wan)"


def test_json_may_be_indented_with_tabs():
    document = read('{\n\t"a":\t1,\n\t"b": "x\\/y"\n}\n')
    assert (document.data, document.problems) == ({"a": 1, "b": "x/y"}, ())
    assert document.place(("a",)) == at(2, 7)

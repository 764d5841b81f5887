from __future__ import annotations

import pytest

from poolmgr.config.problem import Severity

MAIN = """
diskimages:
  - {name: base, abstract: true, env-vars: {A: base, B: base}}
  - {name: deb, parent: base, env-vars: {B: deb}}
"""


def environment(examined):
    return examined.settings.diskimages["deb"].build.env_vars


def test_secrets_are_added_to_what_the_image_has_after_inheritance(look):
    secure = "diskimages: [{name: deb, env-vars: {A: secret, C: secret}}, {name: deb, env-vars: {C: later}}]"
    assert environment(look(MAIN, secure=secure)) == {"A": "secret", "B": "deb", "C": "later"}


def test_interpolation_works_in_the_secure_file(look):
    secure = "diskimages: [{name: deb, env-vars: {A: '%(NODEPOOL_A)'}}]"
    assert environment(look(MAIN, secure=secure, environ={"NODEPOOL_A": "x"}))["A"] == "x"


@pytest.mark.parametrize("secure", ["", "# nothing yet\n", "diskimages: []\n"])
def test_an_empty_secure_file_is_fine(look, secure):
    assert look(MAIN, secure=secure).problems == ()


@pytest.mark.parametrize(
    ("secure", "path", "what"),
    [
        (
            "diskimages: [{name: dep, env-vars: {}}]",
            "diskimages[0].name",
            "'dep' is not defined in the main file",
        ),
        ("diskimages: [{name: base, env-vars: {}}]", "diskimages[0].name", "'base' is abstract"),
        ("diskimages: [{name: deb}]", "diskimages[0]", "'env-vars' is missing"),
        ("diskimages: [{env-vars: {}}]", "diskimages[0]", "'name' is missing"),
        ("diskimages: [{name: deb, env-vars: {A: 1}}]", "diskimages[0].env-vars.A", "wrong value"),
        ("zookeeper-tls: {cert: hunter2}", "zookeeper-tls", "'ca' is missing"),
        ("hunter2", "", "not a secure file"),
        ("zookeeper-servers: hunter2", "zookeeper-servers", "not a list"),
        ("a: [hunter2", "", "not YAML"),
    ],
)
def test_defects_of_the_secure_file_are_errors_in_it_and_show_no_values(look, tmp_path, secure, path, what):
    problem = next(p for p in look(MAIN, secure=secure).problems if p.severity is Severity.ERROR)
    assert (problem.file, problem.key) == (str(tmp_path / "s.yaml"), path)
    assert what in problem.what
    assert "hunter2" not in str(problem)


def test_null_secrets_are_empty(look):
    examined = look(MAIN, secure="diskimages: [{name: deb, env-vars: }]")
    assert environment(examined) == {"A": "base", "B": "deb"}
    assert [p.severity for p in examined.problems] == [Severity.WARNING]


@pytest.mark.parametrize(("key", "hint"), [("labels", ""), ("zookeeper-server", "'zookeeper-servers'")])
def test_a_key_that_is_not_read_is_a_warning_and_an_error_when_strict(look, key, hint):
    [problem] = look(MAIN, secure=f"{key}: []").problems
    assert (problem.severity, problem.what) == (Severity.WARNING, "unknown key")
    assert hint in problem.hint
    assert look(MAIN, secure=f"{key}: []", strict=True).settings is None


def test_defects_of_both_files_are_reported_together(look, tmp_path):
    examined = look("labels: [{}]", secure="diskimages: [{}]")
    assert [p.file.rpartition("/")[2] for p in examined.problems] == ["m.yaml", "s.yaml", "s.yaml"]


def test_a_main_file_that_is_not_yaml_does_not_hide_the_secure_file(look):
    problems = look("a: [", secure="b: [").problems
    assert ["not YAML" in p.what for p in problems] == [True, True]


def test_a_secure_file_that_is_not_there_is_an_error(look, tmp_path):
    look(MAIN)
    from poolmgr.config.load import examine

    [problem] = examine(str(tmp_path / "m.yaml"), secure=str(tmp_path / "none"), environ={}).problems
    assert "No such file" in problem.what


def test_secrets_are_not_in_the_text_of_settings(look):
    secure = "diskimages: [{name: deb, env-vars: {A: hunter2}}]"
    assert "hunter2" not in repr(look(MAIN, secure=secure).settings)

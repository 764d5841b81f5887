"""`poolmgr cloud config`: every key in force, who set it, and never a secret."""

from __future__ import annotations

import json

import pytest

from poolmgr.cli import main

CLOUDS = """\
clouds:
  north:
    profile: rackspace
    region_name: DFW
    auth: {username: ci, project_id: '0123', auth_url: 'https://me:hidden-word@k.example/v2.0'}
    floating_ip_source: null
"""
SECURE = "clouds:\n  north:\n    auth:\n      password: hidden-word\n"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory that is the home too, with one cloud."""
    monkeypatch.setattr(main.logs, "for_command", lambda **_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLOUD", "STATSD_HOST", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    (tmp_path / "secure.yaml").write_text(SECURE)
    return tmp_path


def rows(capsys, *arguments):
    """What is printed as JSON, as {key: (value, source)}."""
    assert main.main(["cloud", "config", "--explain", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    return {row["key"]: (row["value"], row["source"]) for row in found["keys"]}


@pytest.mark.parametrize(
    ("key", "value", "source"),
    [
        ("auth.username", "ci", "{place}/clouds.yaml:5"),
        ("auth.password", "<hidden>", "{place}/secure.yaml:4"),
        ("auth.auth_url", "https://me:***@k.example/v2.0", "{place}/clouds.yaml:5"),
        ("region_name", "DFW", "{place}/clouds.yaml:4"),
        ("image_format", "vhd", "profile rackspace"),
        ("floating_ip_source", None, "{place}/clouds.yaml:6"),
        ("private", False, "default"),
        ("compute_service_name", "cloudServersOpenStack", "profile rackspace"),
        ("has_network", False, "profile rackspace"),
    ],
)
def test_each_key_is_told_with_who_set_it(place, capsys, key, value, source):
    assert rows(capsys)[key] == (value, source.format(place=place))


def test_sources_that_are_no_files(place, capsys, monkeypatch):
    monkeypatch.setenv("STATSD_HOST", "stats")
    found = rows(capsys, "north", "--region", "DFW")
    assert found["region_name"] == ("DFW", "argument")
    assert found["metrics.statsd.host"] == ("stats", "environment STATSD_HOST")


def test_secrets_are_in_no_output(capsys):
    for arguments in ((), ("--explain",), ("--json",), ("--explain", "--json")):
        assert main.main(["cloud", "config", *arguments]) == 0
        captured = capsys.readouterr()
        assert "hidden-word" not in captured.out + captured.err


def test_the_table_speaks_as_clouds_yaml_does_and_warnings_go_to_stderr(capsys):
    assert main.main(["cloud", "config", "north"]) == 0
    captured = capsys.readouterr()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in captured.out.splitlines()]
    assert ["floating_ip_source", "none"] in lines
    assert ["image_api_use_tasks", "true"] in lines
    assert ["api_timeout", ""] in lines
    assert "clouds.yaml:3:14: warning: clouds.north.profile: " in captured.err


def test_the_environment_is_read_where_no_cloud_is_named_or_when_asked_for(place, capsys, monkeypatch):
    (place / "clouds.yaml").write_text(CLOUDS + "  south: {auth_type: none}\n")
    assert main.main(["cloud", "config"]) == 1
    assert "which cloud? " in capsys.readouterr().err
    monkeypatch.setenv("OS_CLOUD", "south")
    assert rows(capsys)["auth_type"] == ("none", f"{place}/clouds.yaml:7")
    monkeypatch.setenv("OS_AUTH_TYPE", "none")
    assert main.main(["cloud", "config", "envvars"]) == 1
    assert rows(capsys, "envvars", "--env")["auth_type"] == ("none", "environment OS_AUTH_TYPE")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nort"], "has no cloud 'nort'; did you mean 'north'?"),
        (["--region", "dfw"], "clouds.yaml:3:5: error: clouds.north: it has no region 'dfw'; allowed: DFW"),
    ],
)
def test_what_is_wrong_is_told_with_exit_code_1(capsys, arguments, line):
    assert main.main(["cloud", "config", *arguments]) == 1
    assert line in capsys.readouterr().err

"""`poolmgr cloud profiles`: the clouds that are known."""

from __future__ import annotations

import json

import pytest

from poolmgr.cli import main


@pytest.fixture(autouse=True)
def quiet_logging(monkeypatch):
    monkeypatch.setattr(main.logs, "for_command", lambda **_: None)


def listed(capsys, *arguments):
    assert main.main(["cloud", "profiles", "--json", *arguments]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_the_living_are_listed_and_with_all_the_dead(capsys):
    assert "hp" not in listed(capsys)
    everyone = listed(capsys, "--all")
    assert everyone["hp"]["status"] == "dead"
    assert "2016" in everyone["hp"]["message"]


def test_a_row_says_what_the_profile_says(capsys):
    assert listed(capsys)["switchcloud"] == {
        "name": "switchcloud",
        "status": "active",
        "message": "",
        "checked": "2026-08-21",
        "source": "openstacksdk",
        "url": "",
        "auth_url": "https://identity.compute.cloud.switch.ch/v3",
        "regions": ["zhw", "zhc"],
    }


def test_the_table_has_a_line_for_each(capsys):
    assert main.main(["cloud", "profiles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[1].split("|")[1:-1]] == [
        "Name", "Status", "Regions", "Auth URL", "Checked", "Message",
    ]  # fmt: skip
    assert any("rackspace-flex" in line and "SJC3,DFW3" in line for line in lines)


@pytest.mark.parametrize("verb", ["config", "profiles"])
def test_every_verb_explains_itself_with_an_example_in_the_width_of_a_terminal(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        main.main(["cloud", verb, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"\n  poolmgr cloud {verb}" in text
    assert max(map(len, text.splitlines())) <= 120


def test_without_a_verb_the_command_line_is_wrong(capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["cloud"])
    assert ended.value.code == 2

"""Who is at the keyboard, and what they are told."""

import getpass
import os
import socket

import pytest

from poolmgr.cli.person import counted, did_you_mean, user_at_host


def test_who_it_is_behind_sudo_or_not_or_without_a_name(monkeypatch):
    host = socket.gethostname()
    monkeypatch.setenv("SUDO_USER", "ana")
    assert user_at_host() == f"ana@{host}"
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr(getpass, "getuser", lambda: "bob")
    assert user_at_host() == f"bob@{host}"

    def nobody():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_at_host() == f"{os.getuid()}@{host}"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("debain", ["debian", "fedora"], "did you mean debian?"),
        ("zz", ["debian", "fedora"], "there are debian, fedora"),
        ("zz", [], "there is none"),
        ("zz", [f"image-{number}" for number in range(30)], "there are 30 others"),
    ],
)
def test_what_may_have_been_meant(name, known, hint):
    assert did_you_mean(name, known) == hint


def test_things_are_counted_as_people_do():
    assert [counted(number, "node") for number in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]

"""What vendors publish, kept on disk: who is asked when, and what happens when they do not answer well."""

from __future__ import annotations

import os
import stat

import pytest

from poolmgr.cloud.vendor import FRESH, VendorProfiles
from poolmgr.errors import CloudUnavailable, ConfigError, Rejected
from tests.fakes import FakeClock

URL = "https://vendor.example/.well-known/openstack/api"
FILE = "poolmgr/profiles/vendor.example.json"


class Web:
    """Gives `answers` one after the other; one that is an error is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, url):
        assert url == URL
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def check(text):
    """Texts are good when they say so."""
    if not text.startswith("good"):
        raise ConfigError(f"no profile: {text}")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def ask(tmp_path, clock):
    """`ask(*answers of the web)`: what comes of it; files are as old as the clock says."""

    def run(*answers, download=True):
        profiles = VendorProfiles(
            clock, {"XDG_CACHE_HOME": str(tmp_path)}, download=Web(*answers) if download else None
        )
        text = profiles.text(URL, check=check)
        file = tmp_path / FILE
        if file.exists() and file.stat().st_mtime > clock.time():  # written just now, by the real clock
            os.utime(file, (clock.time(), clock.time()))
        return text

    return run


def test_a_vendor_is_asked_once_a_day(ask, clock):
    assert ask("good 1") == "good 1"
    clock.advance(FRESH - 1)
    assert ask() == "good 1"
    clock.advance(2)
    assert ask("good 2") == "good 2"
    assert ask() == "good 2"


@pytest.mark.parametrize("answer", [CloudUnavailable("silence"), Rejected("404"), "nonsense"])
def test_what_was_good_stays_when_a_vendor_answers_no_more(ask, clock, caplog, answer):
    ask("good 1")
    clock.advance(30 * FRESH)
    assert ask(answer) == "good 1"
    assert "is used" in caplog.text
    assert ask("good 2") == "good 2"


@pytest.mark.parametrize(
    ("answer", "error"),
    [(CloudUnavailable("silence"), CloudUnavailable), (Rejected("404"), Rejected), ("nonsense", ConfigError)],
)
def test_without_anything_on_disk_it_is_an_error_and_nothing_is_kept(ask, tmp_path, answer, error):
    with pytest.raises(error):
        ask(answer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"nonsense", b"\xff\xfe"])
def test_a_damaged_file_is_replaced(ask, tmp_path, damage):
    ask("good 1")
    (tmp_path / FILE).write_bytes(damage)
    assert ask("good 2") == "good 2"
    assert (tmp_path / FILE).read_text() == "good 2"


def test_offline_only_the_disk_counts(ask, clock):
    with pytest.raises(ConfigError, match="is not at hand"):
        ask(download=False)
    ask("good 1")
    clock.advance(30 * FRESH)
    assert ask(download=False) == "good 1"


def test_a_cache_that_cannot_be_written_is_only_a_warning(clock, tmp_path, caplog):
    (tmp_path / "poolmgr").write_text("in the way")
    profiles = VendorProfiles(clock, {"XDG_CACHE_HOME": str(tmp_path)}, download=Web("good 1"))
    assert profiles.text(URL, check=check) == "good 1"
    assert "cannot be kept" in caplog.text


def test_the_cache_is_in_the_home_by_default(clock, tmp_path):
    profiles = VendorProfiles(clock, {"HOME": str(tmp_path)}, download=Web("good 1"))
    profiles.text(URL, check=check)
    file = tmp_path / ".cache" / FILE
    assert stat.S_ISREG(file.stat().st_mode)
    assert [other.name for other in file.parent.iterdir()] == [file.name]  # nothing half-written beside it

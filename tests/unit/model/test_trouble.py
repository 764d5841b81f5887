"""The table of troubles: words that stay, advice that can be given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from poolmgr.errors import CloudUnavailable, ConfigError, Throttled
from poolmgr.model.trouble import Trouble

SOURCES = Path(__file__).parents[3] / "poolmgr"


@pytest.mark.parametrize("trouble", Trouble, ids=lambda trouble: trouble.value)
def test_words_and_advice_have_the_form_that_messages_need(trouble):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", trouble.value)
    assert trouble.name.replace("_", "-").lower() == trouble.value
    assert trouble.remedy[0].islower()
    assert not trouble.remedy.endswith(".")
    assert "\n" not in trouble.remedy
    assert Trouble.of(trouble.value) is trouble


def test_no_trouble_is_in_the_table_that_nothing_raises():
    files = (path for path in SOURCES.rglob("*.py") if path.name != "trouble.py")
    used = set(
        re.findall(r"Trouble\.([A-Z_0-9]+)", " ".join(path.read_text(encoding="utf-8") for path in files))
    )
    assert {trouble.name for trouble in Trouble} - used == set()


def test_an_error_says_what_is_wrong_and_then_what_to_do():
    error = Trouble.SILENT.error(Throttled, "cloud north: nothing", retry_after=3.0, request_id="req-1")
    assert str(error) == f"cloud north: nothing; {Trouble.SILENT.remedy}"
    assert (error.message, error.reason) == ("cloud north: nothing", "silent")
    assert (error.retry_after, error.request_id) == (3.0, "req-1")
    assert Trouble.BAD_URL.error(ConfigError, "no").problems == (f"no; {Trouble.BAD_URL.remedy}",)
    plain = CloudUnavailable("nothing")
    assert (str(plain), plain.message, plain.reason, plain.remedy) == ("nothing", "nothing", "", "")


def test_a_word_that_is_none():
    assert Trouble.of("") is None

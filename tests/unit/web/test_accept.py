"""Which type a client gets."""

import pytest

from poolmgr.web.accept import wants_json


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("Application/JSON", True),
        ("application/*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("application/json, text/plain, */*", False),  # no preference: text, as the reference
        ("application/json, */*;q=0.5", True),
        ("text/plain;q=0.5, application/json;q=0.4", False),
        ("text/html;q=0, text/plain;q=0, */*", True),
        ("application/json;q=0, */*", False),
        ("application/json;q=0.001, text/*;q=0", True),
        # Odd ones, which are an error with the reference
        ("image/png", False),
        (";;q=,,", False),
        ("application/json;q=high", False),
        ("application/json;q=7", False),
        ("application/json; charset=utf-8; q=1", True),
        ("\u00ff" * 1000, False),
    ],
)
def test_json_only_for_whom_prefers_it(accept, json):
    assert wants_json(accept) is json

import argparse

import pytest

from poolmgr.cli.durations import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1w", 604800),
        ("1h30m", 5400), ("1d12h", 129600), (" 2H ", 7200),
    ],
)  # fmt: skip
def test_what_people_type(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0h", "-1h", "1.5h", "h", "2 h", "30m1h", "2y", "٣h", "9" * 400])
def test_what_is_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match="Write 90s, 30m, 2h, 1d, or 1h30m"):
        duration(text)

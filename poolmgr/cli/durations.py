"""Durations as people type them: `90`, `30m`, `2h`, `1d12h`."""

from __future__ import annotations

import argparse
import re

_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_FORM = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS))


def duration(text: str) -> float:
    """An argument type: seconds, more than none. A plain number is seconds."""
    plain = text.strip().lower()
    if plain.isascii() and plain.isdigit() and len(plain) < 10:
        found = int(plain)
    else:
        match = _FORM.fullmatch(plain)
        found = sum(int(n) * _UNITS[unit] for unit, n in match.groupdict().items() if n) if match else 0
    if found <= 0:
        raise argparse.ArgumentTypeError(f"not a duration: {text!r}. Write 90s, 30m, 2h, 1d, or 1h30m")
    return float(found)

"""Bytes per second as people write them: `20M`, `1.5G`, `500kB/s`, or a plain number of bytes.

One letter means what it means for curl's `--limit-rate`: K, M, G, T are powers of 1024, with or without `iB` behind
it. `kB`, `MB`, `GB`, `TB` are powers of 1000. Bits are refused: nobody could tell `20Mb` from `20MB`.
"""

from __future__ import annotations

import math
import re

import voluptuous as vol

from poolmgr.config.shape import Advice, Value

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_TEXT = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<letter>[kKMGT]?)(?P<kind>iB|B)?(/s)?")
_BITS = re.compile(r"[\d.]+\s*[kKMGT]?i?b(it|ps|/s|$)", re.IGNORECASE)


def bytes_per_second(value: object) -> float:
    """`value` in bytes per second; 0 is no limit. Raises voluptuous.Invalid when it is no such rate."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise vol.Invalid("not a rate")
    rate = _read(value) if isinstance(value, str) else float(value)
    if not math.isfinite(rate) or rate < 0:
        raise Advice("0 is no limit")
    return rate


def _read(text: str) -> float:
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise Advice("write bytes, not bits" if _BITS.match(text.strip()) else "")
    base = 1000.0 if match["kind"] == "B" else 1024.0
    return float(match["number"]) * math.pow(base, _POWERS[match["letter"].upper()])


RATE = Value(
    schema=bytes_per_second,
    allowed="bytes per second, 0 or more: a number, or one with K, M, G or T (powers of 1024), such as 20M",
)

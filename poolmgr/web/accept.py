"""Which type a client wants (RFC 9110, 12.5.1), as the reference decides it: JSON only where it is preferred.

Anything odd is no error: whoever says nothing that makes sense gets text.
"""

from __future__ import annotations

_TEXT = ("text/plain", "text/html")
_JSON = "application/json"


def wants_json(accept: str | None) -> bool:
    """Whether JSON suits the client better than text. `accept`: the header, None where there is none."""
    ranges = dict(_range(part) for part in (accept or "").split(","))
    json = _quality(_JSON, ranges)
    return json > max(_quality(kind, ranges) for kind in _TEXT)


def _range(part: str) -> tuple[str, float]:
    """A media range and its quality; 0 for a quality that is no number."""
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return kind, _number(value)
    return kind, 1.0


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0.0 <= value <= 1.0 else 0.0


def _quality(kind: str, ranges: dict[str, float]) -> float:
    """Of the most specific range that holds `kind`."""
    for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0

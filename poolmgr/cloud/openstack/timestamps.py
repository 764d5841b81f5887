"""Points in time as services write them: ISO 8601 in UTC, which some of them do not say; in headers as HTTP has it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def epoch_of(text: object) -> float | None:
    """`2026-11-22T22:13:00Z`, with or without the Z or a fraction, as seconds since the epoch; None for others."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def epoch_of_http_date(text: str) -> float | None:
    """`Sun, 22 Nov 2026 22:13:00 GMT` as seconds since the epoch; None for others."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None

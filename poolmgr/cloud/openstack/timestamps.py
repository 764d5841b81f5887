"""Points in time as OpenStack's services write them: ISO 8601 in UTC, which some of them do not say."""

from __future__ import annotations

from datetime import UTC, datetime


def epoch_of(text: object) -> float | None:
    """`2026-11-22T22:13:00Z`, with or without the Z or a fraction, as seconds since the epoch; None for others."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None

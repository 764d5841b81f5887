"""Names that are new each time."""

from __future__ import annotations

import uuid


def new_id() -> str:
    """32 hex digits."""
    return uuid.uuid4().hex

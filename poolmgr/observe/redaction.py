"""Credentials never reach a log: what looks like one, or is known to be one, becomes `***` in every handler.

A safety net under the rule that nobody logs credentials; libraries and error texts of clouds don't know the rule.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback

HIDDEN = "***"
#: Shorter secrets would make holes in ordinary words.
SHORTEST = 6

_WORDS = r"(?:password|passwd|secret|token|api[_-]?key|private[_-]?key|authorization)"
#: One of these is in every text that the expression below matches.
_HINTS = ("passw", "secret", "token", "key", "authorization", "@")
_LOOKS_SECRET = re.compile(
    # key = value, key: value, "key": "value"; an Authorization header has two words
    rf"""(?P<key>{_WORDS}["']?\s*[=:]\s*)(?P<quote>["']?)(?:(?:basic|bearer)\s+)?(?P<value>[^\s"',;&}}]+)"""
    # https://user:password@host
    r"""|(?P<user>://[^/\s:@]+:)(?P<pass>[^/\s@]+)(?=@)""",
    re.IGNORECASE,
)


def _hide(match: re.Match[str]) -> str:
    if match["user"]:
        return f"{match['user']}{HIDDEN}"
    return f"{match['key']}{match['quote']}{HIDDEN}"


class Redaction(logging.Filter):
    """A filter for handlers. It lets every record pass and hides secrets in its message and traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._secrets: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None

    def hide(self, *secrets: str) -> None:
        """Hide these values from now on, wherever they occur; those under six characters are left."""
        with self._lock:
            self._secrets |= {secret for secret in secrets if len(secret) >= SHORTEST}
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, text: str) -> str:
        """`text` without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        lowered = text.lower()
        # Much cheaper than the expression, and nearly always false
        if any(hint in lowered for hint in _HINTS):
            text = _LOOKS_SECRET.sub(_hide, text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the handler will complain about the mistake in the log call
            return True
        cleaned = self.clean(message)
        if cleaned != message:
            record.msg, record.args = cleaned, None
        if record.exc_info and not record.exc_text:
            # Formatters use this text, when it is there, instead of making their own.
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = self.clean(record.exc_text)
        return True

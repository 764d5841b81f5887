"""Metrics on the wire: every statsd name poolmgr sends, in one table (metrics.md).

`Stats` is the only sender. Names are raw, as the reference sends them, except the parts `escape` cleans.
"""

from __future__ import annotations

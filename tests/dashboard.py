"""The dashboard in etc/grafana, as Graphite would be asked by it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[1] / "etc" / "grafana" / "poolmgr.json"
DASHBOARD: dict[str, Any] = json.loads(PATH.read_text())
_SERIES = re.compile(r"stats(?:_counts)?\.[A-Za-z0-9_.$*-]+")
#: What statsd makes of a metric, by its type, and what Graphite has below it.
_TREES = (
    ("stats.gauges.", "g", re.compile(r"$")),
    ("stats.timers.", "ms", re.compile(r"\.(mean|upper_90|count)$")),
    ("stats_counts.", "c", re.compile(r"$")),
)


def targets() -> Iterator[tuple[str, str]]:
    """(title of the panel, target)."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["target"]


def queries() -> list[str]:
    """Every path that is asked for, with `*` for what the viewer chooses; those that fill variables are in it."""
    asked = [target for _, target in targets()]
    asked += [v["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    return sorted({re.sub(r"\$\w+", "*", path) for target in asked for path in _SERIES.findall(target)})


def finds(query: str, sent: Collection[tuple[str, str]]) -> bool:
    """Whether Graphite has a series (or, for a variable, a folder) for `query` when `sent` came: (name, type)."""
    for tree, kind, tail in _TREES:
        if query.startswith(tree):
            levels = tail.sub("", query.removeprefix(tree)).split(".")
            names = [name.split(".")[: len(levels)] for name, type_ in sent if type_ == kind]
            return any(len(name) == len(levels) and all(map(_fits, levels, name)) for name in names)
    return False


def _fits(level: str, part: str) -> bool:
    return re.fullmatch(re.escape(level).replace(r"\*", ".*"), part) is not None

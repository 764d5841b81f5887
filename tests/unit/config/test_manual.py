"""The manual's page of settings has every key of the schema, where it belongs, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.scenario.every_key import paths

PAGE = (Path(__file__).parents[3] / "doc" / "settings.rst").read_text(encoding="utf-8")


def told() -> set[str]:
    """Paths of the keys in the first columns of tables; the comment before a table names its sections."""
    found = set()
    for part in PAGE.split(".. keys:")[1:]:
        sections, _, table = part.partition("\n")
        rows = re.findall(r"^   \* - (``.*)$", table, re.MULTILINE)
        keys = {key for row in rows for key in re.findall(r"``([^`]+)``", row)}
        for section in sections.split(",") if sections.strip() else [""]:
            found |= {".".join(filter(None, (section.strip(), key))) for key in keys}
    return found


def test_every_key_is_told_in_its_place():
    assert told() - {"openstack.pools.labels"} == set(paths())

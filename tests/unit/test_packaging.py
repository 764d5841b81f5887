"""setup.cfg, constraints.txt and what is installed agree."""

from __future__ import annotations

import importlib.metadata
import re
from importlib import resources
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version for name, version in pairs}


def needed(name: str, extras: frozenset[str]) -> dict[str, str]:
    """Installed versions of everything that `name` with `extras` brings in, itself left out."""
    found: dict[str, str] = {}
    todo, seen = [(name, extras)], set()
    while todo:
        name, extras = todo.pop()
        if (normal(name), extras) in seen:
            continue
        seen.add((normal(name), extras))
        distribution = importlib.metadata.distribution(name)
        found[normal(name)] = distribution.version
        for text in distribution.requires or []:
            requirement = Requirement(text)
            asked = [{"extra": extra} for extra in ("", *extras)]
            if requirement.marker is None or any(requirement.marker.evaluate(e) for e in asked):
                todo.append((requirement.name, frozenset(requirement.extras)))
    del found["poolmgr"]
    return found


def test_everything_that_is_needed_is_pinned_at_the_version_in_use():
    wanted = needed("poolmgr", frozenset({"test", "docs", "images"}))
    assert {name: pinned().get(name) for name in wanted} == wanted


def test_nothing_is_pinned_that_is_not_needed():
    wanted = needed("poolmgr", frozenset({"test", "docs", "images"}))
    assert set(pinned()) - set(wanted) <= {"setuptools"}  # it builds the package


@pytest.mark.parametrize("command", ["poolmgr", "poolmgr-launcher", "poolmgr-builder"])
def test_the_commands_are_installed(command):
    [entry] = importlib.metadata.entry_points(group="console_scripts", name=command)
    assert callable(entry.load())


def test_type_information_is_shipped():
    assert resources.files("poolmgr").joinpath("py.typed").is_file()

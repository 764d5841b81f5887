"""Configuration files made of text: what is not under test is appended, so line numbers are those of the text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from poolmgr.config.load import Examined, examine

ZOOKEEPER = "\nzookeeper-servers: [{host: zk}]\nzookeeper-plaintext: true\n"
CLOUDS = {"north": ("one", "two"), "south": ()}

Examine = Callable[..., Examined]


@pytest.fixture
def look(tmp_path: Path) -> Examine:
    """`look(main, secure=text or None, **options of examine)`; files are named m.yaml and s.yaml."""

    def run(
        main: str, *, secure: str | None = None, zookeeper: str = ZOOKEEPER, **options: object
    ) -> Examined:
        (tmp_path / "m.yaml").write_text(textwrap.dedent(main).lstrip("\n") + zookeeper)
        if secure is not None:
            (tmp_path / "s.yaml").write_text(textwrap.dedent(secure).lstrip("\n"))
        chosen: dict[str, object] = {"environ": {}, "clouds": CLOUDS, **options}
        return examine(
            str(tmp_path / "m.yaml"),
            secure=str(tmp_path / "s.yaml") if secure is not None else None,
            **chosen,
        )

    return run


@pytest.fixture
def found(look: Examine, tmp_path: Path) -> Callable[..., list[str]]:
    """The findings of `look` as lines, without the directory."""

    def run(main: str, **options: object) -> list[str]:
        return [str(problem).replace(f"{tmp_path}/", "") for problem in look(main, **options).problems]

    return run

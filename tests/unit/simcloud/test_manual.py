"""The manual and the command name all that there is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from poolmgr.cli import main
from poolmgr.simcloud.fault_kinds import FaultKind
from poolmgr.simcloud.fault_texts import TEXTS
from poolmgr.simcloud.faults import Fault
from poolmgr.simcloud.settings import CloudConfig
from poolmgr.simcloud.shapes import SHAPES, ImageApi, NetworkPlan, ObjectStore

MANUAL = (Path(__file__).parents[3] / "doc" / "simcloud.rst").read_text(encoding="utf-8")


@pytest.mark.parametrize("record", [CloudConfig, ImageApi, ObjectStore, NetworkPlan, Fault])
def test_every_key_is_in_the_manual(record: type):
    names = [f.name for f in fields(record)]
    unknown = [n for n in names if n not in MANUAL and n.replace("_", "-") not in MANUAL]
    assert unknown == []


@pytest.mark.parametrize(
    ("option", "names"),
    [("--list-shapes", list(SHAPES)), ("--list-faults", [*(k.value for k in FaultKind), *TEXTS])],
)
def test_the_command_tells_what_there_is(option: str, names: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main.main(["simcloud", option])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert [n for n in names if n not in out] == []

"""The builder that is not there yet."""

from __future__ import annotations

import pytest

from poolmgr.cli import builder


@pytest.mark.parametrize("argv", [[], ["-f", "-c", "/etc/nodepool/nodepool.yaml", "--build-workers", "2"]])
def test_it_says_what_to_do_instead(capsys, argv):
    assert builder.main(argv) == 2
    told = capsys.readouterr().err
    assert "no image builder" in told
    assert "nodepool-builder" in told


def test_its_version_is_told_as_scripts_expect(capsys):
    with pytest.raises(SystemExit) as ended:
        builder.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("Nodepool version: ")

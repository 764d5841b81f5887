"""`poolmgr-builder` before it starts: options, and what it refuses to start with."""

from __future__ import annotations

import json

import pytest

from poolmgr.cli import builder

SITE = {"zookeeper-servers": [{"host": "127.0.0.1", "port": 1}], "zookeeper-plaintext": True}


@pytest.fixture
def config(tmp_path):
    def write(**more):
        path = tmp_path / "nodepool.yaml"
        path.write_text(json.dumps({**SITE, **more}))
        return str(path)

    return write


@pytest.mark.parametrize("options", [["-f"], ["-d"], []])
def test_without_a_place_for_images_it_says_so_and_does_not_even_detach(capsys, config, options):
    assert builder.main([*options, "-c", config()]) == 1
    assert "'images-dir' is missing" in capsys.readouterr().err


def test_a_place_that_does_not_exist_is_not_made(capsys, config, tmp_path):
    assert builder.main(["-f", "-c", config(**{"images-dir": str(tmp_path / "images")})]) == 1
    assert "does not exist; make it" in capsys.readouterr().err
    assert not (tmp_path / "images").exists()


def test_the_options_of_the_reference_are_taken():
    args = builder.build_parser().parse_args(
        [
            "-c",
            "a",
            "-s",
            "b",
            "-l",
            "c",
            "-p",
            "d",
            "-f",
            "-d",
            "--build-workers",
            "2",
            "--upload-workers",
            "8",
        ]
    )
    assert (args.build_workers, args.upload_workers, args.stop_timeout) == (2, 8, 30.0)
    assert builder.build_parser().parse_args([]).pidfile == "/var/run/nodepool/nodepool-builder.pid"


@pytest.mark.parametrize(
    "options", [["--build-workers", "0"], ["--tuning", "nonsense=1"], ["--tuning", "idle_cycle=x"]]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(SystemExit) as ended:
        builder.main(options)
    assert ended.value.code == 2


def test_its_version_is_told_as_scripts_expect(capsys):
    with pytest.raises(SystemExit) as ended:
        builder.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("Nodepool version: ")

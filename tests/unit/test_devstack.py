"""devstack/: the scripts parse, stop nothing but what they started, and the plugin writes files that poolmgr reads.

Nothing here starts a service; tests/integration/openstack does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from poolmgr.config.clouds import load_clouds
from poolmgr.config.load import examine

DEVSTACK = Path(__file__).parents[2] / "devstack"
LOCAL = DEVSTACK / "local"
BASH = [
    DEVSTACK / "plugin.sh",
    DEVSTACK / "settings",
    *sorted(LOCAL.glob("*.sh")),
    *sorted(LOCAL.glob("lib/*.sh")),
]
GUEST = sorted((LOCAL / "image").iterdir())  # run by the shell of a guest


def bash(script: str, **environment: str) -> str:
    result = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("script", [*BASH, *GUEST], ids=lambda path: str(path.relative_to(DEVSTACK)))
def test_the_scripts_parse(script):
    result = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_shellcheck_finds_nothing():
    program = shutil.which("shellcheck")
    assert program, "shellcheck is missing: bindep.txt has it, tools/setup.sh installs it"
    result = subprocess.run([program, "-x", *BASH, *GUEST], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_no_two_services_share_a_port_nor_do_two_clouds_side_by_side():
    script = f"VARIANT=fake; . {LOCAL}/lib/settings.sh; set | grep '^[A-Z_]*_PORT='"
    listed = [bash(script, POOLMGR_OPENSTACK_PORT_OFFSET=offset).split() for offset in ("0", "1000")]
    ports = [int(line.partition("=")[2]) for lines in listed for line in lines]
    assert len(ports) == len(set(ports)) == 32
    assert max(ports) < 32768  # from here on the kernel hands ports out


@pytest.mark.parametrize("born", ["1", ""])
def test_a_process_that_only_has_the_recorded_id_is_left_alone(tmp_path, born):
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        (tmp_path / "service.pid").write_text(f"{stranger.pid} {born}\n")
        said = bash(f". {LOCAL}/lib/process.sh; alive service && echo alive; stop service", RUN=str(tmp_path))
        assert (said, stranger.poll()) == ("", None)
        assert not list(tmp_path.iterdir())
        stranger.kill()


def test_what_was_started_is_known_started_once_and_stopped(tmp_path):
    script = f"""
        . {LOCAL}/lib/process.sh
        start service sh -c 'sleep 60 & echo begun; wait'
        until [ -s "$LOG/service.log" ]; do :; done
        start service echo again
        alive service && started
        read -r pid _ <"$RUN/service.pid"
        stop service
        alive service || echo stopped
        kill -0 -- "-$pid" 2>/dev/null || echo 'with its children'
        cat "$LOG/service.log"
    """
    (tmp_path / "run").mkdir()
    said = bash(script, RUN=str(tmp_path / "run"), LOG=str(tmp_path))
    assert said.split("\n") == ["service", "stopped", "with its children", "begun", ""]


@pytest.mark.parametrize("arguments", [[], ["real"]])
def test_up_names_its_variants(arguments):
    result = subprocess.run([LOCAL / "up.sh", *arguments], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, f"usage: {LOCAL}/up.sh fake|qemu\n")


def test_the_plugin_writes_files_that_poolmgr_reads(tmp_path):
    script = f"""
        is_service_enabled() {{ false; }}
        define_plugin() {{ :; }}
        enable_service() {{ :; }}
        . {DEVSTACK}/settings
        . {DEVSTACK}/plugin.sh
        poolmgr_clouds_yaml >clouds.yaml
        poolmgr_nodepool_yaml >nodepool.yaml
    """
    settings = {
        "DEST": "/opt/stack",
        "DATA_DIR": "/opt/stack/data",
        "POOLMGR_CONF_DIR": str(tmp_path),
        "ADMIN_PASSWORD": "secret",
        "REGION_NAME": "RegionOne",
        "KEYSTONE_SERVICE_URI": "http://192.0.2.1/identity",
        "DEFAULT_IMAGE_NAME": "cirros-0.6.2-x86_64-disk",
        "DEFAULT_INSTANCE_TYPE": "m1.tiny",
    }
    bash(f"cd {tmp_path}; {script}", **settings)
    clouds = load_clouds(paths=[str(tmp_path / "clouds.yaml")], environ={})
    assert clouds.get("devstack-poolmgr").region_name == "RegionOne"
    regions = {"devstack-poolmgr": ("RegionOne",)}
    assert examine(str(tmp_path / "nodepool.yaml"), environ={}, clouds=regions).problems == ()

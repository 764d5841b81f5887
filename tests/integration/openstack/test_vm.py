"""One real machine, all the way: uploaded image, boot, floating IP through a real router, host keys, login by ssh.

Runs inside the network namespace of the variant `qemu` (tools/openstack.sh), where the machines' addresses are.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolmgr.cli.client import NodeClient
from poolmgr.cli.orders import Order, Stage, Wanted
from poolmgr.model.server import Server
from poolmgr.store.remains import remains
from poolmgr.store.zookeeper.walk import all_paths
from tests.integration.openstack.launcher_run import LauncherRun
from tests.integration.openstack.site import CLOUDS_YAML, command, eventually, real_site

pytestmark = pytest.mark.openstack_vm

TINY = CLOUDS_YAML.parent / "image" / "tiny.qcow2"
IMAGE = "suite-tiny"
KEY = "suite-vm"
#: A boot under emulation takes half a minute when the machine is calm.
PATIENCE = 900.0


def config() -> dict[str, Any]:
    pool = {
        "name": "main",
        "max-servers": 2,
        "networks": ["private"],
        "labels": [
            {
                "name": "tiny",
                "cloud-image": IMAGE,
                "flavor-name": "m1.nano",
                "key-name": KEY,
                "console-log": True,
            }
        ],
    }
    return {
        "labels": [{"name": "tiny"}],
        "providers": [
            {
                "name": "vm-cloud",
                "driver": "openstack",
                "cloud": "pool-a",
                "launch-timeout": 600,
                "boot-timeout": 600,
                "cloud-images": [{"name": IMAGE, "username": "root"}],
                "pools": [pool],
            }
        ],
    }


@pytest.fixture
def key(tmp_path) -> Path:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture
def image(admin, key) -> Iterator[str]:
    """The id of an image that poolmgr has uploaded; the login's key is there too."""
    project = real_site("pool-a", cores=None)
    project.cloud.import_key(KEY, key.with_suffix(".pub").read_text())
    yield command("upload-image", "pool-a", str(TINY), "--name", IMAGE, "--json")["id"]
    command("delete-image", "pool-a", IMAGE)
    project.cloud.delete_key(KEY)
    project.cloud.close()


def test_a_request_is_served_by_a_machine_one_can_log_in_to(admin, image, key, tmp_path, zookeeper_hosts):
    before = admin.left()
    run = LauncherRun(tmp_path, zookeeper_hosts, lambda _ready: config())
    try:
        run.start(pools=1)
        client = NodeClient(run.store, run.clock, requestor="suite")
        order = client.submit(Wanted(labels=("tiny",)))
        eventually(lambda: step(client, order), within=PATIENCE)
        (node,) = order.nodes
        assert node.image_id == IMAGE
        assert image in {s.image_id for s in project_servers()}
        assert node.host_keys
        assert str(node.interface_ip).startswith("172.24.4.")
        assert logged_in(node.interface_ip, node.host_keys, key, tmp_path).startswith("np")
        client.release(order)
        eventually(run.emptied, within=PATIENCE)
        assert run.launcher.stop()
        client.close()
        assert remains(all_paths(run.zookeeper)) == ()
        assert admin.left() == before
    finally:
        run.close()


def project_servers() -> list[Server]:
    project = real_site("pool-a", cores=None)
    try:
        return list(project.cloud.list_servers().items.values())
    finally:
        project.cloud.close()


def step(client: NodeClient, order: Order) -> bool:
    client.step()
    assert order.stage not in (Stage.FAILED, Stage.LOST), order.reason
    return order.stage is Stage.HELD


def logged_in(address: str, host_keys: tuple[str, ...], key: Path, directory: Path) -> str:
    """The host's name, as told by a login that knows its keys from the node's record alone."""
    known = directory / "known_hosts"
    known.write_text("".join(f"{address} {host_key}\n" for host_key in host_keys))
    options = [
        f"UserKnownHostsFile={known}",
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
        "ConnectTimeout=30",
    ]
    command = ["ssh", "-F", "none", "-i", str(key), *(w for o in options for w in ("-o", o))]
    done = subprocess.run(
        [*command, f"root@{address}", "hostname"], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

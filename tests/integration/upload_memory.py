"""A program: upload the file of a build as a builder does, and say how much memory that took.

    python -m tests.integration.upload_memory CLOUDS_YAML IMAGES_DIR SIZE

Prints a JSON object: how the upload went, and `idle` and `peak` resident memory in bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.config.clouds import load_clouds
from poolmgr.runtime.clock import SystemClock
from tests.scenario.harness import Fuse
from tests.scenario.uploading import UploadSite

BLOCK = bytes(range(256)) * 4096  # a MiB


class RealClouds(UploadSite):
    """The clouds are another process."""

    clouds_yaml = ""

    def open_world(self, config: Mapping[str, Any]) -> Any:
        return SimpleNamespace(clouds=config["clouds"])

    def connect(self, name: str, fuse: Fuse, deployment: str) -> OpenStackCloud:
        settings = load_clouds(paths=[self.clouds_yaml], environ={}).get(name, None)
        return OpenStackCloud(name, settings, region=None, rate=0.0, clock=self.clock, deployment=deployment)


def main(clouds_yaml: str, directory: str, size: int) -> None:
    RealClouds.clouds_yaml = clouds_yaml
    site = RealClouds(Path(directory), {"north": {}}, clock=SystemClock())
    process = site.start()
    process.clouds["north"].connect()
    process.cycle()
    build = site.build(content=BLOCK)
    with (Path(directory) / f"debian-{build.id}.raw").open("wb") as file:
        for _ in range(size // len(BLOCK)):
            file.write(BLOCK)
    site.client.save_build(replace(build, files={"raw": {"size": size // len(BLOCK) * len(BLOCK)}}))
    idle = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here on
    process.cycle()
    upload = site.upload()
    said = {
        "state": upload.state.value,
        "reason": upload.reason,
        "sent": upload.sent,
        "method": upload.method,
    }
    print(json.dumps({**said, "idle": idle, "peak": _resident("VmHWM")}))


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

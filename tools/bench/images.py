#!/usr/bin/env python3
"""What uploads and an idle builder cost, beside what they may cost.

    tools/bench/images.py [--size-mib 2048] [--rounds 5] [--json]

Uploads go to `poolmgr simcloud` in a process of its own, in turn with `curl -T` of the same file to the same server,
each upload from a fresh process. Exits 1 when an upload takes too much memory or reaches too small a part of curl's
speed, or when an idle pass asks ZooKeeper anything; CPU depends on the machine, so there too much is only marked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import new
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402 - the path is set
from keystoneauth1 import loading  # noqa: E402
from keystoneauth1.session import Session  # noqa: E402

from poolmgr.builder.janitor import Janitor  # noqa: E402
from poolmgr.cloud.openstack import OpenStackCloud  # noqa: E402
from poolmgr.config.clouds import load_clouds  # noqa: E402
from poolmgr.model.cloud_image import ImageOwner, ImageSpec  # noqa: E402
from poolmgr.runtime.clock import SystemClock  # noqa: E402
from poolmgr.store.memory import MemorySession  # noqa: E402
from tests.scenario.builder_site import BuilderSite  # noqa: E402

MOST_MEMORY = 80.0  # MiB above idle
LEAST_SHARE = 90.0  # percent of curl's speed
MOST_CPU = 50.0  # ms of an idle pass
BUILDS, PROVIDERS = 200, 6
#: One for each way in which bytes are taken; `put` is the one that curl is compared with.
SHAPES = {"put": "nat", "v1": "v1only", "import": "import", "tasks": "tasks", "raw": "direct"}


@dataclass(frozen=True)
class Figure:
    """`most` and `least` None: for information. `counts`: passing the limit fails the whole."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None
    counts: bool = True

    @property
    def missed(self) -> bool:
        too_much = self.most is not None and self.value > self.most
        return too_much or (self.least is not None and self.value < self.least)

    def __str__(self) -> str:
        limit = f"at most {self.most:g}" if self.most is not None else ""
        limit = f"at least {self.least:g}" if self.least is not None else limit
        verdict = "MISSED" if self.missed else "ok" if limit else ""
        return f"{self.name:52} {self.value:>8g} {self.unit:6} {limit:14} {verdict}"


@contextmanager
def simcloud(directory: Path) -> Iterator[Path]:
    """The clouds.yaml of a server process; what it is sent lies below `directory`."""
    config, found = directory / "sim.yaml", directory / "clouds.yaml"
    clouds = {name: {"shape": shape} for name, shape in SHAPES.items()}
    config.write_text(yaml.safe_dump({"ssh": {"enabled": False}, "clouds": clouds}))
    command = [sys.executable, "-m", "poolmgr.simcloud", str(config)]
    environ = {**os.environ, "TMPDIR": str(directory)}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stdout is not None
            found.write_text(yaml.safe_dump(json.loads(process.stdout.readline())["clouds_yaml"]))
            yield found
        finally:
            process.terminate()
            process.wait(30)


class Curl:
    """`curl -T` to the cloud `put`."""

    def __init__(self, clouds_yaml: Path) -> None:
        auth = yaml.safe_load(clouds_yaml.read_text())["clouds"]["put"]["auth"]
        plugin = loading.get_plugin_loader("password").load_from_options(**auth)
        self._session = Session(auth=plugin)
        self._where = {"service_type": "image", "interface": "public"}

    def seconds(self, path: Path) -> float:
        """From the first byte to the answer."""
        record = {"name": "curl", "disk_format": "raw", "container_format": "bare"}
        image = self._session.post("/v2/images", json=record, endpoint_filter=self._where).json()
        endpoint = str(self._session.get_endpoint(**self._where)).rstrip("/")
        url = f"{endpoint}/v2/images/{image['id']}/file"
        headers = [
            f"X-Auth-Token: {self._session.get_token()}",
            "Content-Type: application/octet-stream",
            "Expect:",
        ]
        command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "-T", str(path), url]
        began = time.monotonic()
        subprocess.run([*command, *(word for one in headers for word in ("-H", one))], check=True)
        took = time.monotonic() - began
        self._session.delete(f"/v2/images/{image['id']}", endpoint_filter=self._where)
        return took


# In the process that uploads


def upload(clouds_yaml: str, names: list[str], path: str, hashes: Mapping[str, str]) -> dict[str, float]:
    """Upload to these clouds at once, as a builder does: seconds for all of it, resident MiB before and at most."""
    clouds = [opened(clouds_yaml, name) for name in names]
    for cloud in clouds:
        cloud.connect()
        cloud.list_images()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here on
    idle, began, cpu = resident("VmRSS"), time.monotonic(), time.process_time()
    made: list[Any] = []
    specs = [spec_of(name, path, hashes) for name in names]
    threads = [
        threading.Thread(target=lambda cloud=cloud, spec=spec: made.append((cloud, cloud.upload_image(spec))))
        for cloud, spec in zip(clouds, specs, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    assert len(made) == len(names)
    figures = {"seconds": took, "cpu": cpu, "idle": idle, "peak": resident("VmHWM")}
    for cloud, image in made:
        cloud.delete_image(image.id)
        cloud.close()
    return figures


def opened(clouds_yaml: str, name: str) -> OpenStackCloud:
    settings = load_clouds(paths=[clouds_yaml], environ={}).get(name)
    return OpenStackCloud(name, settings, region=None, rate=0.0, clock=SystemClock(), deployment="bench")


def spec_of(name: str, path: str, hashes: Mapping[str, str]) -> ImageSpec:
    return ImageSpec(
        name=f"bench-{name}",
        path=path,
        size=os.stat(path).st_size,
        disk_format="raw",
        owner=ImageOwner(
            provider=name, image="bench", build="1", upload=str(os.getpid()), deployment="bench"
        ),
        md5=hashes["md5"],
        sha256=hashes["sha256"],
    )


def resident(field: str) -> float:
    """MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def in_fresh_process(**arguments: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--upload", json.dumps(arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=1800)
    return dict(json.loads(done.stdout))


# Figures


def disk_of(directory: Path, size_mib: int) -> tuple[Path, dict[str, str]]:
    """A file without a hole in it, and the hashes that a build would have left beside it."""
    path, block = directory / "disk.raw", os.urandom(1 << 20)
    hashes = {name: new(name, usedforsecurity=False) for name in ("md5", "sha256")}
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(block)
            for one in hashes.values():
                one.update(block)
    return path, {name: one.hexdigest() for name, one in hashes.items()}


def uploads(size_mib: int, rounds: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-images-", dir="/var/tmp") as name:
        directory = Path(name)
        path, hashes = disk_of(directory, size_mib)
        with simcloud(directory) as clouds_yaml:
            one = {"clouds_yaml": str(clouds_yaml), "path": str(path), "hashes": hashes}
            yield from beside_curl(one, Curl(clouds_yaml), size_mib, rounds)
            several = in_fresh_process(names=list(SHAPES), **one)
    memory = several["peak"] - several["idle"]
    # each upload may take what one may
    yield Figure(
        f"upload to {len(SHAPES)} clouds: memory", round(memory, 1), "MiB", len(SHAPES) * MOST_MEMORY
    )
    speed = len(SHAPES) * size_mib / several["seconds"]
    yield Figure(f"upload to {len(SHAPES)} clouds: all together", round(speed), "MiB/s")


def beside_curl(one: Mapping[str, Any], curl: Curl, size_mib: int, rounds: int) -> Iterator[Figure]:
    path = Path(one["path"])
    curl.seconds(path)  # warms the page cache
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(curl.seconds(path))
        ours.append(in_fresh_process(names=["put"], **one))
    memory = max(run["peak"] - run["idle"] for run in ours)
    yield Figure(f"upload of {size_mib} MiB: memory above idle", round(memory, 1), "MiB", MOST_MEMORY)
    yield Figure("curl -T", round(size_mib / statistics.median(theirs)), "MiB/s")
    yield Figure("upload", round(size_mib / statistics.median(run["seconds"] for run in ours)), "MiB/s")
    yield Figure("upload: CPU", round(statistics.median(run["cpu"] for run in ours), 2), "s")
    share = statistics.median(theirs) / statistics.median(run["seconds"] for run in ours)
    yield Figure("upload beside curl -T", round(100 * share, 1), "%", least=LEAST_SHARE)


class CountedSession(MemorySession):
    """Counts what it is asked to read."""

    reads = 0


def _counted(name: str) -> Any:
    plain = getattr(MemorySession, name)

    def call(self: CountedSession, *args: Any) -> Any:
        CountedSession.reads += 1
        return plain(self, *args)

    return call


for _name in ("get", "children", "fetch", "fetch_children", "commit"):
    setattr(CountedSession, _name, _counted(_name))


def idle_pass(times: int = 9) -> Iterator[Figure]:
    """Each build has its upload in each provider, and its files."""
    with tempfile.TemporaryDirectory(prefix="bench-images-") as name:
        site = BuilderSite(Path(name) / "images", {f"cloud-{n}": "direct" for n in range(PROVIDERS)})
        keep(site, BUILDS)
        process = site.start()
        for number in range(1, BUILDS + 1):
            site.put_build(number, files=("qcow2",), formats="qcow2")
            for where in site.world.clouds:
                site.put_upload(number, where)
        process.memory._memory.__class__ = CountedSession  # counts from now on
        process.cycle()
        assert len(site.builds()) == BUILDS
        CountedSession.reads = 0
        calls = {where: sum(cloud.calls.values()) for where, cloud in site.world.clouds.items()}
        costs = [_cpu_of(process.janitor) for _ in range(times)]
        assert len(site.uploads()) == BUILDS * PROVIDERS
        asked = sum(sum(cloud.calls.values()) - calls[where] for where, cloud in site.world.clouds.items())
    title = f"idle pass, {BUILDS} builds x {PROVIDERS} providers"
    yield Figure(f"{title}: ZooKeeper", CountedSession.reads, "calls", 0)
    yield Figure(f"{title}: clouds", asked, "calls", 0)
    yield Figure(f"{title}: CPU", round(statistics.median(costs), 1), "ms", MOST_CPU, counts=False)


def _cpu_of(janitor: Janitor) -> float:
    """Milliseconds of one pass."""
    began = time.thread_time()
    janitor.cycle()
    return 1000 * (time.thread_time() - began)


def keep(site: BuilderSite, count: int) -> None:
    """Have `count` builds and uploads kept, so that there is nothing to do."""
    settings = site.settings
    images = {
        name: replace(image, build=replace(image.build, keep_builds=count, keep_uploads=count))
        for name, image in settings.diskimages.items()
    }
    site.settings = replace(settings, diskimages=images)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size-mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--upload", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upload:
        print(json.dumps(upload(**json.loads(options.upload))))
        return 0
    if not shutil.which("curl"):
        parser.error("there is no curl to compare with")
    figures = []
    for figure in chain(idle_pass(), uploads(options.size_mib, options.rounds)):
        figures.append(figure)
        if not options.json:
            print(figure, flush=True)
    if options.json:
        print(json.dumps([asdict(figure) | {"missed": figure.missed} for figure in figures]))
    return 1 if any(figure.missed and figure.counts for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())

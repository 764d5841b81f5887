"""Builder processes on a real ZooKeeper and pretend clouds over HTTP, steered from outside, and what they leave."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from poolmgr.cli.demo.daemon_process import DaemonProcess
from poolmgr.cli.demo.sink import StatsdSink
from poolmgr.cli.demo.stack import NO_PROXY
from poolmgr.config.load import load
from poolmgr.model.image import BuildState, UploadState
from poolmgr.simcloud import running
from poolmgr.wiring import open_store
from tests.sites import eventually

#: Everything that real builders wait minutes for, in seconds.
TUNING = {
    "idle_cycle": 0.5,
    "cycle_spacing": 0.05,
    "progress_interval": 0.05,
    "retry_first": 0.3,
    "space_look": 0.5,
    "grace_kill": 2.0,
    "abandoned_after": 3.0,
    "lost_lock_grace": 6.0,
    "delete_retry": 0.3,
    "sweep_interval": 0.5,
    "sweep_age": 1.0,
    "late_import": 3.0,
}
SESSION_TIMEOUT = 2.0
#: By name: the shape, and the format its images have. Polling tasks takes ten seconds: that cloud is an extra.
CLOUDS = {"sim-put": ("nat", "qcow2"), "sim-raw": ("direct", "raw"), "sim-tasks": ("tasks", "vhd")}
USUAL = ("sim-put", "sim-raw")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Site:
    """A ZooKeeper, the clouds, and the directories of one or two builders. `close` ends all."""

    def __init__(self, directory: Path, zookeeper_hosts: str) -> None:
        self.directory = directory
        self._address, _, self._chroot = zookeeper_hosts.partition("/")
        self._parts = ExitStack()
        clouds = {name: {"shape": shape, "latency": 0.002} for name, (shape, _) in CLOUDS.items()}
        self.sim = self._parts.enter_context(running({"clouds": clouds}))
        self.clouds_path = self.sim.write_clouds_yaml(directory / "clouds.yaml")
        self.sink = StatsdSink()
        self._parts.callback(self.sink.close)
        self.clouds = list(USUAL)
        self.builders: list[Builder] = []
        self.foreign: set[str] = set()  # names of files that stay
        self.config = {
            "zookeeper-servers": [
                {
                    "host": self._address.partition(":")[0],
                    "port": int(self._address.partition(":")[2]),
                    "chroot": f"/{self._chroot}",
                }
            ],
            "zookeeper-plaintext": True,
            "zookeeper-timeout": SESSION_TIMEOUT,
            "image-retry-max": 1,
            "diskimages": [self.image("noble")],
            "providers": [
                {"name": name, "cloud": name, "rate": 0, "diskimages": [{"name": "noble"}]} for name in USUAL
            ],
        }
        first = self.builder("a")
        settings = load(str(first.config_path), environ={}, check_clouds=False).settings
        self.store = open_store(settings)
        self.store.start()
        self._parts.callback(self.store.close)

    def image(self, name: str, *, seconds: float = 0.3, size: int = 1 << 20, **more) -> dict:
        env = {"SIMDIB_SECONDS": str(seconds), "SIMDIB_SIZE": str(size)}
        return {
            "name": name,
            "dib-cmd": f"{shlex.quote(sys.executable)} -m poolmgr.simcloud.dib",
            "elements": ["debian-minimal", "vm"],
            "env-vars": env,
            "keep-builds": 1,
            "keep-uploads": 1,
            **more,
        }

    def builder(self, name: str) -> Builder:
        """Its directories and files; it is not started."""
        made = Builder(self, name)
        self.builders.append(made)
        return made

    def change(self, **keys) -> None:
        """Change top-level keys of the configuration, for all builders."""
        self.config |= keys
        for builder in self.builders:
            builder.write()

    def set_image(self, **more) -> None:
        """Change how noble is built."""
        self.change(diskimages=[self.image("noble", **more)])

    def set_providers(self, **keys) -> None:
        self.change(providers=[{**provider, **keys} for provider in self.config["providers"]])

    def add_cloud(self, name: str) -> None:
        self.clouds.append(name)
        first = self.config["providers"][0]
        self.change(providers=[*self.config["providers"], {**first, "name": name, "cloud": name}])

    def fault(self, cloud: str, **fault) -> None:
        self._ask(f"{cloud}/faults", fault)

    def calm(self) -> None:
        """No faults any more."""
        for cloud in CLOUDS:
            request = urllib.request.Request(f"{self.sim.url}/_sim/{cloud}/faults", method="DELETE")
            _DIRECT.open(request, timeout=10).close()

    # What there is

    def builds(self):
        with self.store.reading() as snapshot:
            return list(snapshot.builds())

    def uploads(self, provider=None):
        with self.store.reading() as snapshot:
            return [u for u in snapshot.uploads() if provider in (None, u.provider)]

    def cloud_images(self, cloud):
        """Those that the project made, as the cloud really has them."""
        return [image for image in self._ask(f"{cloud}/images") if image["mine"]]

    def amiss(self) -> list[str]:
        """What differs from one good build of each image, in every cloud, and nothing beside it anywhere."""
        builds, uploads = self.builds(), self.uploads()
        ready = [b for b in builds if b.state is BuildState.READY]
        wanted = {image["name"] for image in self.config["diskimages"]}
        found = (
            [] if {b.image for b in ready} == wanted and len(builds) == len(wanted) else [f"builds: {builds}"]
        )
        pairs = sorted((u.image, u.build, u.provider) for u in uploads if u.state is UploadState.READY)
        if pairs != sorted((b.image, b.id, cloud) for b in ready for cloud in self.clouds) or len(
            pairs
        ) != len(uploads):
            found.append(f"uploads: {uploads}")
        for cloud in CLOUDS:
            there = sorted(image["id"] for image in self.cloud_images(cloud))
            if there != sorted(u.external_id or "" for u in uploads if u.provider == cloud):
                found.append(f"images in {cloud}: {there}")
            objects = [name for names in self._ask(f"{cloud}/objects").values() for name in names]
            found += [f"objects in {cloud}: {objects}"] if objects else []
        found += [why for builder in self.builders for why in builder.amiss(ready)]
        found += [f"process {pid}: {text}" for pid, text in self.strangers()]
        return found

    def settles(self, within: float = 30.0) -> None:
        """Wait until nothing is amiss, and still is not a moment later."""
        deadline = time.monotonic() + within
        good = 0
        while good < 3:
            wrong = self.amiss()
            good = 0 if wrong else good + 1
            assert time.monotonic() < deadline, "\n".join([*wrong, *map(Builder.log, self.builders)])
            time.sleep(0.1)

    def settles_beside(self, foreign: set[str]) -> None:
        """The same with files in the first builder's directory that are none of its business."""
        self.foreign = foreign
        self.settles()
        assert foreign <= {path.name for path in self.builders[0].images.iterdir()}

    def strangers(self):
        """Processes that have to do with this place and are no builder of it."""
        ours = {builder.process.pid for builder in self.builders}
        mark = str(self.directory).encode()
        for entry in Path("/proc").glob("[0-9]*"):
            pid = int(entry.name)
            try:
                text = (entry / "cmdline").read_bytes()
                mentions = mark in text or mark in (entry / "environ").read_bytes()
            except OSError:
                continue
            if mentions and pid not in ours and pid != os.getpid() and not self._belongs(pid, ours):
                yield pid, text.replace(b"\0", b" ").decode(errors="replace")

    def command(self, *args: str) -> str:
        """What `poolmgr` says."""
        done = subprocess.run(
            [sys.executable, "-m", "poolmgr.cli.main", "-c", str(self.builders[0].config_path), *args],
            env=self.environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def environ(self):
        return {
            **os.environ,
            **NO_PROXY,
            "OS_CLIENT_CONFIG_FILE": str(self.clouds_path),
            "STATSD_HOST": "127.0.0.1",
            "STATSD_PORT": str(self.sink.port),
        }

    def close(self) -> None:
        for builder in self.builders:
            builder.process.kill()
        self._parts.close()

    def _ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with _DIRECT.open(f"{self.sim.url}/_sim/{path}", data, timeout=10) as answer:
            return json.load(answer)

    def _belongs(self, pid, ours):
        """Whether a running builder started it, however far down."""
        while pid > 1:
            if pid in ours:
                return True
            try:
                pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                return False
        return False


class Builder:
    """One builder's directory below the site's, and its process."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.directory = site.directory / name
        for place in ("images", "tmp", "logs"):
            (self.directory / place).mkdir(parents=True)
        self.config_path = self.directory / "nodepool.yaml"
        self.write()
        tuning = [word for key, value in TUNING.items() for word in ("--tuning", f"{key}={value}")]
        environ = {**site.environ, "TMPDIR": str(self.directory / "tmp")}
        self.process = DaemonProcess(
            "builder", self.config_path, self.directory / "log", environ, options=["--no-webapp", *tuning]
        )

    @property
    def images(self) -> Path:
        return self.directory / "images"

    def write(self) -> None:
        keys = {"images-dir": str(self.images), "build-log-dir": str(self.directory / "logs")}
        draft = self.directory / "draft"
        draft.write_text(json.dumps({**self.site.config, **keys}))
        draft.replace(self.config_path)

    def start(self) -> None:
        self.process.start()

    def crash(self) -> None:
        """kill -9."""
        self.process.kill()

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def log(self) -> str:
        path = self.process.log_path
        return f"--- {path}\n{path.read_text() if path.exists() else ''}"

    def says(self, text: str) -> None:
        eventually(lambda: text in self.log(), within=30.0)

    def amiss(self, ready) -> list[str]:
        """Files that belong to no ready build, what is missing of those here, and what was left in TMPDIR."""
        names = {path.name for path in self.images.iterdir()} - {"builder_id.txt", ".poolmgr-builder.lock"}
        names -= self.site.foreign
        mine = [b for b in ready if any(name.startswith(f"{b.name}.") for name in names)]
        formats = [CLOUDS[cloud][1] for cloud in self.site.clouds]
        wanted = {
            f"{build.name}.{end}"
            for build in mine
            for end in (
                "poolmgr.json", "manifest.json", "d",
                *(f"{fmt}{kind}" for fmt in formats for kind in ("", ".md5", ".sha256")),
            )
        }  # fmt: skip
        found = [f"files: {sorted(names ^ wanted)}"] if names != wanted else []
        left = sorted(path.name for path in (self.directory / "tmp").iterdir())
        return found + ([f"TMPDIR: {left}"] if left else [])

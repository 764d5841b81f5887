"""The commands about images, over a store in memory that other daemons share."""

import io
import json
import sys

import pytest

from poolmgr import wiring
from poolmgr.cli import main
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.node import Node
from poolmgr.store.memory import MemoryStore, MemoryTree

CONFIG = """\
zookeeper-servers: [{host: none, port: 2281}]
zookeeper-plaintext: true
images-dir: /none
diskimages:
  - name: debian
    formats: [qcow2]
  - name: fedora
  - name: stopped
    pause: true
"""


class Place:
    """A configuration, a store that has what others wrote, and the program."""

    def __init__(self, directory, monkeypatch, capture):
        self.config = directory / "nodepool.yaml"
        self.config.write_text(CONFIG)
        self.directory = directory
        self.capture = capture
        self.monkeypatch = monkeypatch
        self.tree = MemoryTree()
        self.store = MemoryStore(self.tree)
        self.store.start()
        self.opened = []  # by the commands, in order
        monkeypatch.setattr(wiring, "open_store", self.open)
        monkeypatch.setattr(main.logs, "for_command", lambda **_: None)

    def open(self, settings):
        self.opened.append(MemoryStore(self.tree))
        return self.opened[-1]

    def run(self, *arguments, code=0, answer=""):
        """What it printed to stdout and stderr. `answer`: what the person types."""
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert main.main(["-c", str(self.config), *arguments]) == code
        return self.capture.readouterr()

    def rows(self, *arguments, **more):
        return json.loads(self.run(*arguments, "--json", **more).out)

    def add_build(self, **changes):
        build = Build(
            **{"id": "0f", "image": "debian", "state": BuildState.READY, "state_time": 100.0, **changes}
        )
        lock = self.store.lock_builds(build.image)
        made = self.store.create_build(build, lock)
        self.store.unlock(lock)
        return made

    def add_upload(self, **changes):
        upload = Upload(
            **{
                "image": "debian",
                "build": "0f",
                "provider": "north",
                "state": UploadState.READY,
                "state_time": 200.0,
                "external_id": "img",
                **changes,
            }
        )
        return self.store.create_upload(upload)

    def add_node_from(self, upload, state):
        node = Node(provider=upload.provider, image_id=upload.path, state=state)
        lock, node = self.store.create_node(node)
        self.store.unlock(lock)
        return node

    def snapshot(self, ask):
        with self.store.reading() as snapshot:
            return ask(snapshot)


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SUDO_USER", "ana")
    made = Place(tmp_path, monkeypatch, capsys)
    yield made
    made.store.close()

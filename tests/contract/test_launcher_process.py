"""`poolmgr-launcher` as a process: start, signals, stop, detaching, its web server."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from poolmgr.config.load import load
from poolmgr.model.component import ComponentKind
from poolmgr.wiring import open_store
from tests.sites import eventually
from tests.zookeeper import free_port

CONFIG = """\
zookeeper-servers: [{{host: 127.0.0.1, port: {port}, chroot: {chroot}}}]
zookeeper-plaintext: true
webapp: {{port: {web}, listen_address: 127.0.0.1}}
"""
LOGGING = """\
version: 1
formatters: {{plain: {{class: nodepool.logconfig.MultiLineFormatter}}}}
handlers: {{file: {{class: logging.FileHandler, filename: {file}, formatter: plain}}}}
root: {{level: DEBUG, handlers: [file]}}
"""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LAUNCHER = [sys.executable, "-m", "poolmgr.cli.launcher"]


class Place:
    def __init__(self, directory, hosts):
        address, _, chroot = hosts.partition("/")
        self.directory = directory
        self.config = directory / "nodepool.yaml"
        self.log = directory / "log"
        self.log.touch()
        self.web = free_port()
        self.write(address.partition(":")[2], f"/{chroot}")
        self.processes = []

    def write(self, port, chroot="/x"):
        self.config.write_text(CONFIG.format(port=port, chroot=chroot, web=self.web))

    def start(self, *options):
        with self.log.open("w") as log:
            process = subprocess.Popen(
                [*LAUNCHER, "-c", str(self.config), *options],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "STATSD_HOST": ""},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def says(self, text):
        eventually(lambda: text in self.log.read_text(), within=30.0)

    def asked(self, path):
        """The status and the text that the web server answers; None while it does not."""
        try:
            with DIRECT.open(f"http://127.0.0.1:{self.web}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return None

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def place(tmp_path, zookeeper_hosts):
    made = Place(tmp_path, zookeeper_hosts)
    yield made
    made.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_orderly_and_leaves_no_component(place, number):
    process = place.start("-f")
    place.says("is running")
    assert place.asked("/ready") == (200, "OK")
    assert place.asked("/node-list")[0] == 200
    store = open_store(load(str(place.config), environ={}).settings)
    store.start()
    try:
        process.send_signal(number)
        assert process.wait(60) == 0
        # Not when the session expires: at once, since it was ended.
        assert [c for kind in ComponentKind for c in components(store, kind)] == []
    finally:
        store.close()
    assert "Stopped" in place.log.read_text()


def test_files_that_cannot_be_read_any_more_are_told_where_people_look(place):
    place.start("-f")
    place.says("is running")
    good = place.config.read_text()
    in_force = re.search(r'poolmgr_config{.*hash="([0-9a-f]{12})".*} 1.0', metrics(place))
    assert "poolmgr_store_connected 1.0" in metrics(place)
    assert re.search(r"poolmgr_reload_failed{.*} 0.0", metrics(place))
    place.config.write_text("labels: 3\n")
    status, why = eventually(lambda: place.asked("/ready")[0] == 503 and place.asked("/ready"))
    assert (status, place.asked("/live")) == (503, (200, "OK"))
    assert "the last reload failed" in why
    assert str(place.config) in why
    eventually(lambda: re.search(r"poolmgr_reload_failed{.*} 1.0", metrics(place)))
    assert in_force[0] in metrics(place)
    place.config.write_text(good + "\n# better\n")
    eventually(lambda: place.asked("/ready") == (200, "OK"))
    eventually(lambda: re.search(r"poolmgr_reload_failed{.*} 0.0", metrics(place)))
    assert in_force[0] not in metrics(place)


def metrics(place):
    """The page, once it tells which configuration is in force."""
    return eventually(lambda: "poolmgr_config{" in place.asked("/metrics")[1] and place.asked("/metrics")[1])


def components(store, kind):
    with store.reading() as snapshot:
        return list(snapshot.components(kind))


def test_it_waits_for_a_zookeeper_that_is_away_and_can_be_stopped_meanwhile(place):
    place.write(free_port())
    process = place.start("-f")
    assert eventually(lambda: place.asked("/ready"))[0] == 503
    process.terminate()
    assert process.wait(30) == 0


def test_a_port_that_is_taken_is_told_with_what_to_do(place):
    with socket.create_server(("127.0.0.1", place.web)):
        assert place.start("-f").wait(60) == 1
    assert f"cannot listen on port {place.web} of 127.0.0.1: Address already in use" in place.log.read_text()
    assert "`webapp` in the configuration, or start with --no-webapp" in place.log.read_text()


def test_a_configuration_that_cannot_be_used_is_told_line_by_line(place):
    place.config.write_text("labels: 3\nproviders: x\n")
    assert place.start("-f").wait(60) == 1
    lines = place.log.read_text().splitlines()
    assert any("nodepool.yaml:1:9: error: labels" in line for line in lines)
    assert any("nodepool.yaml:2:12: error: providers" in line for line in lines)
    assert not any("Traceback" in line for line in lines)


def test_sighup_reads_the_configuration_again_and_sigusr1_dumps(place):
    process = place.start("-f", "--no-webapp")
    place.says("is running")
    process.send_signal(signal.SIGHUP)
    place.says("configuration loaded")
    process.send_signal(signal.SIGUSR1)
    place.says("nodepool.stack_dump: Thread: ")
    place.says(f"configuration: {place.config} (")
    process.terminate()
    assert process.wait(60) == 0


def test_sigusr2_logs_debug_from_then_on(place):
    process = place.start("-f", "--no-webapp")
    place.says("is running")
    assert " DEBUG " not in place.log.read_text()
    process.send_signal(signal.SIGUSR2)
    place.says("Log level DEBUG for 10 minutes")
    process.send_signal(signal.SIGUSR2)
    place.says("Log level DEBUG for another 10 minutes")
    process.terminate()
    assert process.wait(60) == 0


@pytest.mark.parametrize("said", ["", "Starting"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_stopped_while_it_starts(place, number, said):
    process = place.start("-d", "--no-webapp")
    if said:
        place.says(said)
    else:
        eventually(lambda: heard(process.pid))
    process.send_signal(number)
    assert process.wait(60) == 0, place.log.read_text()
    assert "Traceback" not in place.log.read_text()


def heard(pid):
    """Whether the process has handlers of its own: that for SIGHUP comes after those that stop it."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(caught, 16) >> (signal.SIGHUP - 1) & 1


def test_a_bad_configuration_on_reload_is_told_and_the_old_one_stays(place):
    process = place.start("-f", "--no-webapp")
    place.says("is running")
    place.config.write_text(place.config.read_text() + "labels: 3\n")
    place.says("old one stays")
    place.says("nodepool.yaml:4:9: error: labels")
    process.send_signal(signal.SIGUSR1)
    place.says("the last reload failed (")
    assert place.log.read_text().count("the configuration is unusable") == 1
    process.terminate()
    assert process.wait(60) == 0


def test_detached_it_keeps_a_pid_file_until_it_stops(place):
    logging = place.directory / "logging.yaml"
    logging.write_text(LOGGING.format(file=place.log))
    pidfile = place.directory / "launcher.pid"
    assert place.start("--no-webapp", "-p", str(pidfile), "-l", str(logging)).wait(60) == 0
    place.says("is running")
    pid = int(pidfile.read_text())
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not pidfile.exists(), within=30.0)
    eventually(lambda: not alive(pid), within=30.0)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

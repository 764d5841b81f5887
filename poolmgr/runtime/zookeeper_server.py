"""A private ZooKeeper: Debian's, on a free loopback port, with its data in a directory of ours.

For the demo and for tests. It listens on 127.0.0.1 only, does not wait for disks, and ends with the thread that
started it.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poolmgr.errors import ConfigError, ProcessFailed
from poolmgr.runtime.clock import Clock, SystemClock
from poolmgr.runtime.process import Process

JARS = Path("/usr/share/java")
#: In the class path that zookeeper.jar names for itself, or beside it for TLS, and for its log.
_NEEDED = ("zookeeper.jar",)
_FOR_TLS = ("netty-codec.jar", "netty-resolver.jar", "netty-transport-native-unix-common.jar")
_FOR_LOG = ("slf4j-simple.jar",)
_PORT_TRIES = 5
_LOOK_EVERY = 0.05
_MAX_SESSION = 120_000  # ms; otherwise 20 ticks are the most a client gets


@dataclass(frozen=True, kw_only=True)
class Quorum:
    """A server's place in an ensemble: its number, and of every member (host:port:port of the election) by number."""

    number: int
    members: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class ServerTls:
    """PEM files: the server's key and certificate in one, and the CA whose clients it lets in."""

    key_and_cert: Path
    ca: Path


class ZooKeeperServer:
    """One server. `port` is chosen at the first start and stays, so that clients find it again after a restart.

    `tick` is ZooKeeper's unit of time in seconds: a session's timeout is at least two of them.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: ServerTls | None = None,
        quorum: Quorum | None = None,
        heap_mib: int = 256,
        tick: float = 0.5,
        clock: Clock | None = None,
        jars: Path = JARS,
    ) -> None:
        self.port = 0  # 0 until started
        self._directory = directory
        self._tls = tls
        self._quorum = quorum
        self._heap_mib = heap_mib
        self._tick = tick
        self._clock = clock or SystemClock()
        self._jars = jars
        self._process: Process | None = None

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self, *, timeout: float = 60.0) -> None:
        """Start it and wait until it serves; nothing happens if it runs.

        A member of an ensemble serves once a majority runs: it is only waited for until its process lives.

        Raises ConfigError when ZooKeeper or Java is not installed, ProcessFailed when it does not come up within
        `timeout` seconds.
        """
        if self.running:
            return
        java, classpath = self._java(), self._classpath()
        (self._directory / "data").mkdir(parents=True, exist_ok=True)
        chosen = self.port
        for _ in range(1 if chosen else _PORT_TRIES):  # someone may take a port before it is bound
            self.port = chosen or free_port()
            self._process = Process(
                [java, *self._options(), "-cp", classpath, _MAIN, str(self._write_config())],
                log_path=self._directory / "zookeeper.log",
                name="ZooKeeper",
                dies_with_us=True,
            )
            if self._quorum is not None or self._comes_up(timeout):
                return
            output = self._process.last_output()
            self.kill()
            if "BindException" not in output:
                break
        raise ProcessFailed(f"ZooKeeper did not come up on port {self.port}:\n{output}")

    def stop(self) -> None:
        """Idempotent; the data stays."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """As a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _java(self) -> str:
        java = shutil.which("java")
        if java is None:
            raise ConfigError("ZooKeeper needs Java: apt-get install default-jre-headless")
        return java

    def _classpath(self) -> str:
        needed = [*_NEEDED, *(_FOR_TLS if self._tls else ())]
        missing = [name for name in needed if not (self._jars / name).exists()]
        if missing:
            raise ConfigError(f"no {', '.join(missing)} in {self._jars}: apt-get install zookeeper")
        optional = [name for name in _FOR_LOG if (self._jars / name).exists()]
        return ":".join(str(self._jars / name) for name in [*needed, *optional])

    def _options(self) -> Sequence[str]:
        return (
            f"-Xmx{self._heap_mib}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dzookeeper.forceSync=no",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        )

    def _write_config(self) -> Path:
        lines = [
            f"dataDir={self._directory / 'data'}",
            f"tickTime={round(self._tick * 1000)}",
            "admin.enableServer=false",
            "maxClientCnxns=0",
            "preAllocSize=1024",
            "4lw.commands.whitelist=srvr,ruok,mntr,wchs,cons",
            f"maxSessionTimeout={_MAX_SESSION}",
        ]
        if self._tls is None:
            lines += [f"clientPort={self.port}", "clientPortAddress=127.0.0.1"]
        else:
            lines += [
                f"secureClientPort={self.port}",
                "secureClientPortAddress=127.0.0.1",
                "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
                f"ssl.keyStore.location={self._tls.key_and_cert}",
                "ssl.keyStore.type=PEM",
                f"ssl.trustStore.location={self._tls.ca}",
                "ssl.trustStore.type=PEM",
                "ssl.clientAuth=need",
            ]
        if self._quorum is not None:
            members = self._quorum.members.items()
            lines += ["initLimit=20", "syncLimit=10", *(f"server.{n}={place}" for n, place in members)]
            (self._directory / "data" / "myid").write_text(f"{self._quorum.number}\n")
        path = self._directory / "zoo.cfg"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _comes_up(self, timeout: float) -> bool:
        assert self._process is not None
        deadline = self._clock.monotonic() + timeout
        while self._clock.monotonic() < deadline:
            if self._process.wait(_LOOK_EVERY) is not None:
                return False
            if self._serves():
                return True
        return False

    def mode(self) -> str:
        """What it says it is: standalone, leader, follower; "" while it does not serve."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(b"srvr")
                answer = connection.makefile("rb").read().decode("ascii", "replace")
        except OSError:
            return ""
        modes = [line.partition(":")[2].strip() for line in answer.splitlines() if line.startswith("Mode:")]
        return modes[0] if modes else ""

    def _serves(self) -> bool:
        """Over TLS, where it answers no plain words, whether it listens must do."""
        if self._tls is None:
            return bool(self.mode())
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return True
        except OSError:
            return False


_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

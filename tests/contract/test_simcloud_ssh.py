"""The SSH server of pretend guests, asked by a real client."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from poolmgr.simcloud.config import load
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.server import RunningSim, running
from poolmgr.simcloud.ssh_wire import Direction, Reader, WireError, mpint
from poolmgr.simcloud.things import Keypair
from poolmgr.simcloud.world import Server, ServerRequest
from tests.contract.sim_api import Hand
from tests.contract.ssh_server import key

TYPES = {
    "ed25519": ("ssh-ed25519",),
    "ecdsa": ("ecdsa-sha2-nistp256",),
    "rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


class Guests:
    """A running cloud and the servers in it."""

    def __init__(self, sim: RunningSim, clock: Hand) -> None:
        self.sim, self.clock = sim, clock
        self.cloud = sim.world.clouds["one"]

    def create(self) -> Server:
        with self.cloud.lock:
            self.cloud.timeline.settle()
            networks = tuple(n.id for n in self.cloud.networking.networks.values() if n.pluggable)
            flavor = next(iter(self.cloud.compute.flavors.values()))
            request = ServerRequest(name="n", flavor=flavor, image_id="i", networks=networks)
            return self.cloud.compute.create(request)

    def addresses(self, server: Server) -> list[str]:
        with self.cloud.lock:
            self.cloud.timeline.settle()
            return [a.address for a in self.cloud.compute.server(server.id).addresses]

    def boot(self) -> str:
        """The last address of a server that is up."""
        server = self.create()
        self.clock.go(10)
        return self.addresses(server)[-1]

    def connect(self, address: str, **options: Any) -> paramiko.Transport:
        connection = socket.create_connection((address, self.sim.ssh_port), timeout=10)
        transport = paramiko.Transport(connection)
        security = transport.get_security_options()
        for name, value in options.items():
            setattr(security, name, value)
        try:
            transport.start_client(timeout=10)
        except Exception:
            transport.close()
            raise
        return transport

    def key(self, address: str, **options: Any) -> tuple[str, bytes]:
        transport = self.connect(address, **options)
        key = transport.get_remote_server_key()
        transport.close()
        return key.get_name(), key.asbytes()


@pytest.fixture
def guests(request: pytest.FixtureRequest):
    clock = Hand()
    cloud = {"boot": {"seconds": 2, "ssh": 3}, **getattr(request, "param", {})}
    config = {"ssh": {"key-types": list(TYPES)}, "clouds": {"one": cloud}}
    with running(load(config), clock) as sim:
        yield Guests(sim, clock)


@pytest.mark.parametrize(
    ("key_type", "algorithm"), [(t, algorithm) for t, algorithms in TYPES.items() for algorithm in algorithms]
)
def test_each_key_type_is_offered_and_its_signature_is_right(guests: Guests, key_type: str, algorithm: str):
    name, _ = guests.key(guests.boot(), key_types=(algorithm,))
    assert name == ("ssh-rsa" if key_type == "rsa" else algorithm)


@pytest.mark.parametrize("kex", ["curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"])
@pytest.mark.parametrize("cipher", ["aes128-ctr", "aes256-ctr"])
def test_login_is_refused_over_a_connection_that_is_really_encrypted(guests: Guests, kex: str, cipher: str):
    transport = guests.connect(guests.boot(), kex=(kex,), ciphers=(cipher,))
    for _ in range(3):
        with pytest.raises(paramiko.BadAuthenticationType):
            transport.auth_password("root", "secret")
    transport.close()


def test_every_server_has_a_key_of_its_own_that_stays(guests: Guests):
    one, two = guests.boot(), guests.boot()
    assert guests.key(one) == guests.key(one)
    assert guests.key(one) != guests.key(two)


@pytest.mark.parametrize("guests", [{"shape": "v6"}], indirect=True)
def test_a_guest_with_a_public_ipv6_address_is_reached_over_an_ipv6_socket(guests: Guests):
    address = guests.boot()
    assert address.startswith("::ffff:127.")
    with socket.create_connection((address, guests.sim.ssh_port), timeout=10) as connection:
        assert connection.family == socket.AF_INET6
    assert guests.key(address)[0] == "ssh-ed25519"


def test_before_it_is_up_and_after_it_is_gone_connections_are_closed_unread(guests: Guests):
    server = guests.create()
    guests.clock.go(3)
    (address,) = guests.addresses(server)
    for seconds, answers in ((0, False), (3, True)):
        guests.clock.go(seconds)
        assert bool(heard(guests, address)) is answers
    with guests.cloud.lock:
        guests.cloud.compute.delete(server.id)
    guests.clock.go(5)
    assert heard(guests, address) == b""
    assert heard(guests, "127.0.0.1") == b""
    assert heard(guests, "127.200.3.4") == b""


def heard(guests: Guests, address: str) -> bytes:
    """What is heard there at first; b"" when the connection is closed."""
    with socket.create_connection((address, guests.sim.ssh_port), timeout=10) as connection:
        try:
            return connection.recv(8)
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"x" * 1000,
        b"SSH-2.0-x\r\n" + b"\xff" * 64,
        b"SSH-2.0-x\r\n" + b"\0\0\0\x0c\x04\x14" + b"\0" * 10,
        b"SSH-2.0-x\r\n" + b"\0\0\0\x01\x00" + b"\0" * 11,
    ],
)
def test_rubbish_ends_the_connection_and_nothing_else(guests: Guests, sent: bytes):
    address = guests.boot()
    with socket.create_connection((address, guests.sim.ssh_port), timeout=10) as connection:
        connection.sendall(sent)
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
    guests.key(address)


def test_no_algorithm_in_common_ends_the_connection(guests: Guests):
    with pytest.raises((paramiko.SSHException, EOFError)):
        guests.connect(guests.boot(), kex=("diffie-hellman-group14-sha256",))


def test_a_port_that_is_taken_is_an_error_at_the_start():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = {"port": taken.getsockname()[1], "clouds": {"one": {}}}
        with pytest.raises(OSError, match="in use"), running(config):
            pass


def test_without_ssh_there_is_no_port():
    with running({"ssh": {"enabled": False}, "clouds": {"one": {}}}) as sim:
        assert sim.ssh_port == 0
        assert sim.server.description()["ssh_port"] is None


def test_packets_go_both_ways_in_pieces():
    for encrypted in (False, True):
        out, back = Direction(), Direction()
        if encrypted:
            keys = {"key": b"k" * 16, "iv": b"i" * 16, "mac_key": b"m" * 32}
            out.encrypt(**keys, decrypting=False)
            back.encrypt(**keys, decrypting=True)
        wire = out.pack(b"hello") + out.pack(b"") + out.pack(b"x" * 1000)
        buffer, got = bytearray(), []
        for byte in wire:
            buffer.append(byte)
            while (payload := back.unpack(buffer)) is not None:
                got.append(payload)
        assert got == [b"hello", b"", b"x" * 1000]


def test_a_changed_packet_is_noticed():
    out, back = Direction(), Direction()
    keys = {"key": b"k" * 16, "iv": b"i" * 16, "mac_key": b"m" * 32}
    out.encrypt(**keys, decrypting=False)
    back.encrypt(**keys, decrypting=True)
    wire = bytearray(out.pack(b"hello"))
    wire[20] ^= 1
    with pytest.raises(WireError, match="code is wrong"):
        back.unpack(wire)


def test_data_types():
    assert mpint(0) == b"\0\0\0\0"
    assert mpint(0x80) == b"\0\0\0\x02\0\x80"
    with pytest.raises(WireError, match="too short"):
        Reader(b"\0\0\0\x05abc").string()


# Who gets in, and what a guest does


def boot_with(guests: Guests, key: paramiko.PKey, fault: Fault | None = None) -> str:
    """The address of a guest whose key pair is this one."""
    with guests.cloud.lock:
        text = f"{key.get_name()} {key.get_base64()} somebody@somewhere"
        guests.cloud.compute.keypairs["ours"] = Keypair(name="ours", public_key=text, fingerprint="")
        if fault:
            guests.cloud.faults.add(fault)
        networks = tuple(n.id for n in guests.cloud.networking.networks.values() if n.pluggable)
        flavor = next(iter(guests.cloud.compute.flavors.values()))
        request = ServerRequest(name="n", flavor=flavor, image_id="i", networks=networks, key_name="ours")
        trouble = guests.cloud.faults.strike("compute.POST.servers", "n")
        server = guests.cloud.compute.create(request, trouble)
    guests.clock.go(10)
    return guests.addresses(server)[-1]


def told(transport: paramiko.Transport, command: str, text: str = "") -> tuple[int, str]:
    channel = transport.open_session(timeout=10)
    channel.settimeout(10)
    channel.exec_command(command)
    channel.sendall(text.encode())
    channel.shutdown_write()
    output = b"".join(iter(lambda: channel.recv(4096), b""))
    return channel.recv_exit_status(), output.decode()


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"])
def test_the_key_of_its_key_pair_gets_in_and_a_command_is_answered(guests: Guests, kind: str):
    ours = key(kind)
    with closing(guests.connect(boot_with(guests, ours))) as transport:
        transport.auth_publickey("zuul", ours)
        assert told(transport, "uname -a") == (0, "zuul@n: uname -a\n")
    with closing(guests.connect(boot_with(guests, ours))) as transport:
        transport.auth_publickey("root", ours)
        assert told(transport, "sh -s", "echo hello\n" * 9000) == (
            0,
            "root@n: sh -s\n" + "echo hello\n" * 9000,
        )


def test_another_key_gets_nobody_in(guests: Guests):
    with closing(guests.connect(boot_with(guests, key("ssh-ed25519")))) as transport:
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("zuul", key("ecdsa-sha2-nistp256"))
        with pytest.raises(paramiko.SSHException):
            transport.open_session(timeout=1)


def test_a_signature_of_another_key_gets_nobody_in(guests: Guests):
    """Whoever knows a public key is not its owner."""

    class Borrowed(paramiko.Ed25519Key):
        def __init__(self) -> None:
            pass

        def asbytes(self) -> bytes:
            return key("ssh-ed25519").asbytes()

        def get_base64(self) -> str:
            return key("ssh-ed25519").get_base64()

        def can_sign(self) -> bool:
            return True

        def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
            signed = paramiko.Message()
            signed.add_string("ssh-ed25519")
            signed.add_string(Ed25519PrivateKey.generate().sign(data))
            return signed

    with (
        closing(guests.connect(boot_with(guests, key("ssh-ed25519")))) as transport,
        pytest.raises(paramiko.AuthenticationException),
    ):
        transport.auth_publickey("zuul", Borrowed())


def test_faults_of_guests(guests: Guests):
    ours = key("ssh-ed25519")
    failing = Fault(kind=FaultKind.COMMAND_FAILS, status=7, message="no network", times=1)
    with closing(guests.connect(boot_with(guests, ours, failing))) as transport:
        transport.auth_publickey("zuul", ours)
        assert told(transport, "true") == (7, "no network")
    locked = Fault(kind=FaultKind.NO_LOGIN, times=1)
    with (
        closing(guests.connect(boot_with(guests, ours, locked))) as transport,
        pytest.raises(paramiko.AuthenticationException),
    ):
        transport.auth_publickey("zuul", ours)

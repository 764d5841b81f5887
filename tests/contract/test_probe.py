"""The probe against real SSH servers, and against servers that are none or misbehave. All on loopback."""

import os
import socket
import struct
import threading

import pytest

from poolmgr.cloud.key_exchange import IDENTIFICATION, proposal
from poolmgr.cloud.probe import SshProber
from poolmgr.errors import ProbeError
from poolmgr.runtime.clock import SystemClock
from tests.contract.ssh_server import Listener, full_backlog, key, ssh_script

ED25519, P256, P384, P521, RSA = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
PATIENT = 30.0  # for servers that answer
SHORT = 0.3  # for those that do not
SERVER = b"SSH-2.0-odd\r\n"


def scan(server, timeout=PATIENT, connection_type="ssh"):
    prober = SshProber(SystemClock())
    return prober.host_keys(server.address, server.port, connection_type=connection_type, timeout=timeout)


def wanted(*key_types):
    return tuple(f"{key_type} {key(key_type).get_base64()}" for key_type in key_types)


@pytest.fixture(autouse=True)
def _nothing_is_left_open():
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    yield
    assert len(os.listdir("/proc/self/fd")) == files
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    "key_types",
    [(ED25519,), (RSA,), (P256,), (P384,), (P521,), (ED25519, RSA), (ED25519, P256, RSA)],
    ids="+".join,
)
def test_a_server_s_keys_are_found_with_one_connection_each(key_types):
    with Listener(ssh_script(key_types)) as server:
        assert scan(server) == wanted(*key_types)
        assert server.connections == len(key_types)


def test_the_order_of_keys_does_not_depend_on_the_server():
    with Listener(ssh_script((RSA, P256, ED25519))) as server:
        assert scan(server) == wanted(ED25519, P256, RSA)


@pytest.mark.parametrize(
    "method",
    [
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "mlkem768x25519-sha256",
        "diffie-hellman-group14-sha256",
        "diffie-hellman-group16-sha512",
    ],
)
def test_keys_are_found_by_each_exchange_method(method):
    with Listener(ssh_script((ED25519, P256), method=method)) as server:
        assert scan(server) == wanted(ED25519, P256)


def test_an_ipv6_server_is_scanned():
    with Listener(ssh_script((ED25519, P256)), address="::1") as server:
        assert scan(server) == wanted(ED25519, P256)


def test_a_name_is_resolved_and_its_addresses_tried_in_turn():
    with Listener(ssh_script((ED25519,))) as server:
        server.address = "localhost"  # ::1 first, where nothing listens
        assert scan(server) == wanted(ED25519)


def test_lines_before_the_identification_are_skipped():
    with Listener(ssh_script((ED25519,), preamble=b"authorised use only\r\nof lab 7\n")) as server:
        assert scan(server) == wanted(ED25519)


def test_network_devices_are_scanned_too():
    with Listener(ssh_script((RSA,))) as server:
        assert scan(server, connection_type="network_cli") == wanted(RSA)


def test_other_servers_need_only_take_a_connection():
    with Listener(lambda connection: None) as server:
        assert scan(server, connection_type="winrm") == ()


def hear(connection):
    """Read what the client said first."""
    connection.recv(4096)


def packet(payload, padding=4):
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


def saying(*pieces):
    """A script that sends `pieces` and keeps the connection open."""

    def serve(connection):
        for piece in pieces:
            connection.sendall(piece)
        while connection.recv(4096):
            pass

    return serve


def then_closing(*pieces):
    def serve(connection):
        hear(connection)
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    return serve


def resetting(*pieces):
    def serve(connection):
        hear(connection)
        for piece in pieces:
            connection.sendall(piece)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return serve


def endlessly(piece):
    def serve(connection):
        while True:
            connection.sendall(piece)

    return serve


def dripping(connection):
    """A line that never ends, and always goes on before anyone would lose patience with one byte."""
    while True:
        connection.sendall(b"x")
        threading.Event().wait(0.01)


OFFER = proposal(["curve25519-sha256"], ["ssh-ed25519"])
WRONG_KEY = packet(b"\x1f" + struct.pack(">II", 11, 7) + b"ssh-rsa" + struct.pack(">II", 0, 0))


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        pytest.param(saying(), "timed out before its SSH identification; it said nothing", id="silent"),
        pytest.param(saying(b"SSH-2.0-slow"), "timed out before its SSH identification", id="half a line"),
        pytest.param(
            saying(SERVER), "timed out before its proposal; it said 'SSH-2.0-odd'", id="no proposal"
        ),
        pytest.param(saying(SERVER, OFFER), "timed out before its host key", id="no key"),
        pytest.param(dripping, "timed out before its SSH identification", id="a byte at a time"),
        pytest.param(then_closing(), "closed before its SSH identification; it said nothing", id="hangs up"),
        pytest.param(
            then_closing(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "closed before its SSH identification; it said 'HTTP/1.1 400 Bad Request'",
            id="http",
        ),
        pytest.param(
            then_closing(SERVER, OFFER), "closed before its host key", id="hangs up in the exchange"
        ),
        pytest.param(resetting(SERVER, OFFER), "reset|pipe|closed", id="resets in the exchange"),
        pytest.param(resetting(), "reset|pipe|closed", id="resets at once"),
        pytest.param(saying(b"SSH-1.5-old\n"), "only SSH 2 is supported, it said 'SSH-1.5-old'", id="ssh 1"),
        pytest.param(saying(bytes(range(256)) * 99), "not SSH, it said", id="garbage"),
        pytest.param(endlessly(b"welcome\r\n"), "not SSH, it said 'welcome'", id="endless lines"),
        pytest.param(endlessly(b"!" * 500), "not SSH, it said '!!!", id="endless line"),
        pytest.param(saying(SERVER, b"\xff" * 100), "not an SSH packet: ff ff", id="garbage packet"),
        pytest.param(saying(SERVER, packet(b"\x05what")), "message 5 came where", id="wrong message"),
        pytest.param(saying(SERVER, packet(b"\x14" + bytes(15))), "cut short", id="short proposal"),
        pytest.param(
            saying(SERVER, OFFER, WRONG_KEY), "type 'ssh-rsa' came where ssh-ed25519", id="other key"
        ),
        pytest.param(
            saying(SERVER, packet(b"\x01" + struct.pack(">II", 2, 9) + b"no thanks" + bytes(4))),
            "it disconnected: 'no thanks'",
            id="disconnects",
        ),
        pytest.param(
            saying(SERVER, proposal(["sntrup761x25519-sha512"], ["ssh-ed25519"])),
            "no key exchange method in common; it offers 'sntrup761x25519-sha512'",
            id="no method in common",
        ),
        pytest.param(
            saying(SERVER, proposal(["curve25519-sha256"], ["ssh-dss"])),
            "no host key type in common; it offers 'ssh-dss'",
            id="no key type in common",
        ),
    ],
)
def test_a_server_that_is_no_use_is_a_probe_error_that_says_why(script, complaint):
    with Listener(script) as server, pytest.raises(ProbeError, match=complaint) as caught:
        scan(server, timeout=SHORT)
    assert str(caught.value).startswith(f"127.0.0.1 port {server.port}: ")


def test_a_server_that_only_sends_messages_to_ignore_is_given_up():
    def serve(connection):
        connection.sendall(SERVER)
        while True:
            connection.sendall(packet(b"\x02" + bytes(20)))

    with Listener(serve) as server, pytest.raises(ProbeError, match="not a key exchange: more than"):
        scan(server)


def test_a_refused_connection_is_a_probe_error():
    with Listener(saying()) as server:
        pass
    with pytest.raises(ProbeError, match=f"127.0.0.1 port {server.port}: Connection refused"):
        scan(server)


@pytest.mark.parametrize("connection_type", ["ssh", "winrm"])
def test_an_address_that_does_not_answer_is_a_probe_error(connection_type):
    with full_backlog() as (address, port), pytest.raises(ProbeError, match="timed out"):
        SshProber(SystemClock()).host_keys(address, port, connection_type=connection_type, timeout=SHORT)


@pytest.mark.parametrize("name", ["", "x" * 64 + ".invalid", "a\0b"])
def test_a_name_without_an_address_is_a_probe_error(name):
    with pytest.raises(ProbeError, match="port 22: "):
        SshProber(SystemClock()).host_keys(name, 22, connection_type="ssh", timeout=SHORT)


def test_a_server_that_refuses_the_second_connection_is_a_probe_error():
    real = ssh_script((ED25519, P256))
    taken = threading.Semaphore(1)

    def serve(connection):
        if taken.acquire(blocking=False):
            real(connection)

    with Listener(serve) as server, pytest.raises(ProbeError, match=r"closed|reset"):
        scan(server)


def test_the_time_is_up_even_while_bytes_keep_coming():
    class Leaping(SystemClock):
        def __init__(self):
            self.now = 0.0

        def monotonic(self):
            self.now += 1.0
            return self.now

    def serve(connection):
        connection.sendall(IDENTIFICATION)
        while True:
            connection.sendall(b"\0")
            threading.Event().wait(0.001)

    with Listener(serve) as server, pytest.raises(ProbeError, match="timed out before its proposal"):
        SshProber(Leaping()).host_keys(server.address, server.port, connection_type="ssh", timeout=5.0)

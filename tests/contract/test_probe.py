"""The probe against real SSH servers, and against servers that are none or misbehave. All on loopback."""

import logging
import os
import socket
import struct
import threading
import time
import tracemalloc

import pytest
from paramiko import Message

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
    # What other tests of this process left to the collector may go meanwhile; nothing of ours may stay.
    deadline = time.monotonic() + 5.0
    while len(os.listdir("/proc/self/fd")) > files or threading.active_count() > threads:
        assert time.monotonic() < deadline, "something was left open"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "key_types",
    [(ED25519,), (RSA,), (P256,), (P384,), (P521,), (ED25519, RSA), (ED25519, P256, RSA)],
    ids="+".join,
)
def test_a_server_s_keys_are_found_with_one_connection_each(key_types):
    with Listener(ssh_script(key_types)) as server:
        assert scan(server) == wanted(*key_types)
        assert server.connections == len(key_types)


def test_of_several_ecdsa_keys_one_is_found():
    with Listener(ssh_script((P521, P256))) as server:
        assert scan(server) == wanted(P256)
        assert server.connections == 1


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


def test_a_name_is_resolved():
    with Listener(ssh_script((ED25519,))) as server:
        server.address = "localhost"
        assert scan(server) == wanted(ED25519)


def resolving_to(monkeypatch, *targets):
    """Every name has these addresses; none on the machine can be counted on to have several."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", target) for target in targets]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_an_address_that_refuses_is_followed_by_the_next(monkeypatch):
    with Listener(ssh_script((ED25519, P256))) as server:
        server.refuse()
        with Listener(ssh_script((ED25519, P256))) as other:
            resolving_to(monkeypatch, ("127.0.0.1", server.port), ("127.0.0.1", other.port))
            assert scan(server) == wanted(ED25519, P256)


def test_an_address_that_is_silent_leaves_time_for_the_next(monkeypatch):
    with Listener(ssh_script((ED25519,))) as server, full_backlog() as silent:
        resolving_to(monkeypatch, silent, ("127.0.0.1", server.port))
        assert scan(server, timeout=3.0) == wanted(ED25519)


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


def padded(payload):
    """`payload` as a packet (RFC 4253 6)."""
    padding = 16 - (5 + len(payload)) % 8
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


def proposal(methods, algorithms):
    message = Message()
    message.add_bytes(b"\x14" + bytes(16))
    for names in (
        methods,
        algorithms,
        *(["aes128-ctr"],) * 2,
        *(["hmac-sha2-256"],) * 2,
        *(["none"],) * 2,
        [],
        [],
    ):
        message.add_list(names)
    message.add_bytes(bytes(5))
    return padded(message.asbytes())


OFFER = proposal(["curve25519-sha256@libssh.org"], ["ssh-ed25519"])
WRONG_KEY = padded(b"\x1f" + struct.pack(">II", 11, 7) + b"ssh-rsa" + struct.pack(">II", 0, 0))
DISCONNECT = padded(b"\x01" + struct.pack(">II", 2, 9) + b"no thanks" + bytes(4))


def ignorable(connection):
    """Messages to ignore, without end, but slowly."""
    connection.sendall(SERVER)
    while True:
        connection.sendall(padded(b"\x02" + bytes(20)))
        time.sleep(0.01)


USELESS = [
    pytest.param(saying(), "timed out; it said nothing", id="silent"),
    pytest.param(saying(b"SSH-2.0-slow"), "timed out; it said 'SSH-2.0-slow'", id="half a line"),
    pytest.param(saying(SERVER), "timed out; it said 'SSH-2.0-odd'", id="no proposal"),
    pytest.param(saying(SERVER, OFFER), "timed out; it said 'SSH-2.0-odd'", id="no key"),
    pytest.param(dripping, "timed out; it said 'x", id="a byte at a time"),
    pytest.param(ignorable, "timed out; it said 'SSH-2.0-odd'", id="messages to ignore"),
    pytest.param(then_closing(), "banner; it said nothing", id="hangs up"),
    pytest.param(
        then_closing(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it said 'HTTP/1.1 400 Bad Request'", id="http"
    ),
    pytest.param(
        then_closing(b"Not allowed at this time\r\n"), "it said 'Not allowed at this time'", id="sshd penalty"
    ),
    pytest.param(then_closing(SERVER, OFFER), "connection closed; it said", id="hangs up in the exchange"),
    pytest.param(resetting(SERVER, OFFER), "reset|pipe|closed", id="resets in the exchange"),
    pytest.param(resetting(), "reset|pipe|closed", id="resets at once"),
    pytest.param(saying(b"SSH-1.5-old\n"), "1.5 instead of 2.0.*it said 'SSH-1.5-old'", id="ssh 1"),
    pytest.param(saying(bytes(range(256)) * 999), "it said '", id="garbage"),
    pytest.param(endlessly(b"wel\x1bcome\r\n"), r"it said 'wel\\x1bcome'", id="endless lines"),
    pytest.param(
        endlessly(b"!" * 500), "no host key in the first 65536 bytes; it said '!!!", id="endless line"
    ),
    pytest.param(saying(SERVER, b"\xff" * 100), "packet", id="garbage packet"),
    pytest.param(saying(SERVER, b"\xff\xff\xff\xfc" * 9), "timed out", id="huge packet"),
    pytest.param(saying(SERVER, padded(b"\x05what")), "got 5", id="wrong message"),
    pytest.param(saying(SERVER, padded(b"\xeewhat")), "got 238", id="unknown message"),
    pytest.param(saying(SERVER, padded(b"\x14" + bytes(15))), "no acceptable", id="short proposal"),
    pytest.param(saying(SERVER, padded(b"\x14" + b"\xff" * 99)), "it said", id="garbage proposal"),
    pytest.param(saying(SERVER, OFFER, WRONG_KEY), "it said 'SSH-2.0-odd'", id="other key"),
    pytest.param(saying(SERVER, DISCONNECT), "it disconnected: 'no thanks'", id="disconnects"),
    pytest.param(
        saying(SERVER, proposal(["sntrup761x25519-sha512"], ["ssh-ed25519"])),
        "no acceptable kex.*it offers 'sntrup761x25519-sha512 with ssh-ed25519'",
        id="no method in common",
    ),
    pytest.param(
        saying(SERVER, proposal(["curve25519-sha256@libssh.org"], ["ssh-dss"])),
        "no acceptable host key.*it offers 'curve25519-sha256@libssh.org with ssh-dss'",
        id="no key type in common",
    ),
]


@pytest.mark.parametrize(("script", "complaint"), USELESS)
def test_a_server_that_is_no_use_is_a_probe_error_that_says_why(script, complaint, caplog):
    caplog.set_level(logging.DEBUG)
    with Listener(script) as server, pytest.raises(ProbeError, match=complaint) as caught:
        scan(server, timeout=SHORT if complaint.startswith("timed out") else PATIENT)
    assert str(caught.value).startswith(f"127.0.0.1 port {server.port}: ")
    assert str(caught.value).isprintable()
    assert caplog.records == []  # paramiko would log tracebacks


def test_a_server_that_only_sends_messages_to_ignore_is_given_up():
    def serve(connection):
        connection.sendall(SERVER)
        while True:
            connection.sendall(padded(b"\x02" + bytes(20)))

    with Listener(serve) as server, pytest.raises(ProbeError, match="no host key in the first 65536 bytes"):
        scan(server)


def test_no_memory_is_set_aside_for_what_a_packet_claims_to_hold():
    tracemalloc.start()
    with Listener(saying(SERVER, b"\xff\xff\xff\xfc" * 9)) as server, pytest.raises(ProbeError):
        scan(server, timeout=SHORT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_paramiko_can_be_listened_to(caplog):
    caplog.set_level(logging.DEBUG, "poolmgr.cloud.probe.paramiko")
    with Listener(saying(b"SSH-1.5-old\n")) as server, pytest.raises(ProbeError):
        scan(server)
    assert "Incompatible version" in caplog.text


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


def first_then(first, others):
    """A script that is `first` for the first connection and `others` for all later ones."""
    taken = threading.Semaphore(1)

    def serve(connection):
        (first if taken.acquire(blocking=False) else others)(connection)

    return serve


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(lambda connection: None, id="closed"),
        pytest.param(resetting(), id="reset"),
        pytest.param(then_closing(b"Exceeded MaxStartups\r\n"), id="too many"),
        pytest.param(saying(SERVER, proposal(["x"], ["y"])), id="another server"),
    ],
)
def test_further_connections_that_fail_only_cost_their_keys(others, caplog):
    caplog.set_level(logging.INFO, "poolmgr")
    real = ssh_script((ED25519, P256, RSA))
    with Listener(first_then(real, others)) as server:
        assert scan(server) == wanted(ED25519)
        assert server.connections == 3
    told = [record.getMessage() for record in caplog.records if record.name == "poolmgr.cloud.probe"]
    assert [line.partition(" read: ")[0] for line in told] == [
        f"127.0.0.1 port {server.port}: no {family} key" for family in (P256, "rsa-sha2-512")
    ]


def test_further_connections_that_are_refused_only_cost_their_keys():
    real = ssh_script((ED25519, P256))

    def serve(connection):
        server.refuse()
        real(connection)

    with Listener(serve) as server:
        assert scan(server) == wanted(ED25519)


def test_further_connections_that_stay_silent_are_waited_for_until_the_time_is_up():
    with Listener(first_then(ssh_script((ED25519, P256)), saying())) as server:
        assert scan(server, timeout=2.0) == wanted(ED25519)


def test_only_one_further_key_fails_and_the_others_are_kept():
    """Connections come in the order of families: Ed25519, ECDSA, RSA."""
    real = ssh_script((ED25519, P256, RSA))
    with Listener(first_then(real, first_then(resetting(), real))) as server:
        assert len(scan(server)) == 2

"""The bytes of a key exchange: what we send, and what any bytes of a server make of us."""

import itertools
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.cloud import key_exchange
from poolmgr.cloud.key_exchange import (
    ALL_METHODS,
    Answers,
    Offer,
    first_message,
    proposal,
    read_key,
    read_offer,
)
from poolmgr.errors import ProbeError

OPENSSH = Offer(
    methods=("sntrup761x25519-sha512@openssh.com", "curve25519-sha256", "kex-strict-s-v00@openssh.com"),
    algorithms=("rsa-sha2-512", "rsa-sha2-256", "ecdsa-sha2-nistp256", "ssh-ed25519"),
)


def string(data):
    return struct.pack(">I", len(data)) + data


def payloads(data):
    """The payloads of the packets in `data`, which are checked for their form."""
    found = []
    while data:
        size, padding = struct.unpack_from(">IB", data)
        assert (4 + size) % 8 == 0
        assert padding >= 4
        assert len(data) >= 4 + size
        found.append(data[5 : 4 + size - padding])
        data = data[4 + size :]
    return found


def test_a_proposal_is_one_packet_with_ten_lists():
    (payload,) = payloads(proposal(["a", "b"], ["c"]))
    assert payload[0] == 20
    rest, lists = payload[17:], []
    for _ in range(10):
        size = int.from_bytes(rest[:4], "big")
        lists.append(rest[4 : 4 + size].decode())
        rest = rest[4 + size :]
    assert lists[:2] == ["a,b", "c"]
    assert all(lists[2:8])  # ciphers, MACs and compressions in both directions
    assert lists[8:] == ["", ""]  # languages
    assert rest == bytes(5)  # no guess follows


@pytest.mark.parametrize("method", ALL_METHODS)
def test_the_first_message_of_each_method_is_well_formed(method):
    numbers = [payload[0] for payload in payloads(first_message(method))]
    assert numbers == ([34, 32] if "group-exchange" in method else [30])


def test_the_diffie_hellman_value_suits_every_group():
    (payload,) = payloads(first_message("diffie-hellman-group1-sha1"))
    value = int.from_bytes(payload[5:], "big")
    assert 1 < value < 2**1000  # below the smallest modulus
    assert payload[5] < 0x80  # not negative as an mpint
    assert value.bit_count() > 4
    assert math.isqrt(value) ** 2 == value  # a square, so in the subgroup of prime order


def test_our_own_proposal_is_read_back():
    (payload,) = payloads(proposal(["x", "y"], ["ssh-ed25519"]))
    assert read_offer(payload) == Offer(methods=("x", "y"), algorithms=("ssh-ed25519",))


def test_the_method_is_our_first_that_the_server_has():
    assert OPENSSH.method() == "curve25519-sha256"


def test_types_come_in_our_order_with_the_best_algorithm_and_rsa_once():
    assert list(OPENSSH.by_type().items()) == [
        ("ssh-ed25519", "ssh-ed25519"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
        ("ssh-rsa", "rsa-sha2-512"),
    ]


def test_old_rsa_servers_are_asked_by_the_old_name():
    assert Offer(methods=(), algorithms=("ssh-dss", "ssh-rsa")).by_type() == {"ssh-rsa": "ssh-rsa"}


def test_the_key_is_read_as_it_stands_in_known_hosts():
    blob = string(b"ssh-ed25519") + string(b"k" * 32)
    reply = b"\x1f" + string(blob) + string(b"f") + string(b"signature")
    text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tr"
    assert read_key("curve25519-sha256", "ssh-ed25519", reply) == text


def test_in_a_group_exchange_the_key_comes_second():
    method = "diffie-hellman-group-exchange-sha256"
    blob = string(b"ssh-rsa") + string(b"e") + string(b"n")
    assert read_key(method, "ssh-rsa", b"\x1f" + string(b"p") + string(b"g")) is None
    assert read_key(method, "ssh-rsa", b"\x21" + string(blob)).startswith("ssh-rsa ")


def run(pieces):
    """What a server's bytes, in these pieces, come to: the identification and all messages, or the complaint."""
    answers, seen = Answers(), []
    try:
        for piece in pieces:
            answers.feed(piece)
            if not seen and (line := answers.identification()) is not None:
                seen.append(line)
            while seen and (message := answers.message()) is not None:
                seen.append(message)
    except ProbeError as error:
        seen.append(str(error))
    return seen


HELLO = b"motd\nSSH-1.99-x y\r\n" + proposal() + proposal(["a"], ["b"])


@given(st.lists(st.integers(0, len(HELLO)), max_size=20))
def test_how_bytes_are_cut_into_pieces_does_not_matter(cuts):
    edges = [0, *sorted(cuts), len(HELLO)]
    pieces = [HELLO[a:b] for a, b in itertools.pairwise(edges)]
    assert run(pieces) == ["SSH-1.99-x y", *payloads(proposal() + proposal(["a"], ["b"]))]


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
def test_no_bytes_raise_anything_but_probe_errors(pieces, identified):
    run([b"SSH-2.0-x\n", *pieces] if identified else pieces)


@given(st.binary(min_size=1, max_size=200), st.sampled_from(ALL_METHODS))
def test_no_message_raises_anything_but_probe_errors(payload, method):
    for message in (payload, b"\x14" + payload, b"\x1f" + payload, b"\x21" + payload):
        assert complaint(read_offer, message).isprintable()
        assert complaint(read_key, method, "ssh-rsa", message).isprintable()


def complaint(read, *arguments):
    try:
        read(*arguments)
    except ProbeError as error:
        return str(error)
    return ""


def test_messages_to_ignore_are_skipped():
    ignore = b"\x00\x00\x00\x0c\x0a\x02" + bytes(10)
    debug = b"\x00\x00\x00\x0c\x0a\x04" + bytes(10)
    assert run([b"SSH-2.0-x\n" + ignore + debug + proposal()])[1:] == payloads(proposal())


def test_what_a_server_said_is_quoted_in_messages():
    answers = Answers()
    answers.feed(b"\x1b[2Jgo away\x00" + b"x" * 200)
    assert answers.heard() == "it said '\\x1b[2Jgo away\\x00" + "x" * 68 + "'"


def test_a_flood_ends_in_an_error():
    with pytest.raises(ProbeError, match="more than 131072 bytes"):
        Answers().feed(bytes(key_exchange._MOST_BYTES + 1))

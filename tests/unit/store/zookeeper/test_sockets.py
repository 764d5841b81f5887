"""How kazoo gets at sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from poolmgr.store.zookeeper.sockets import BufferedSocket, Handler


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_what_arrived_at_once_is_given_out_in_parts_without_waiting(pair):
    near, far = pair
    buffered, handler = BufferedSocket(near), Handler(None, 1.0)
    assert handler.select([buffered], [], [], 0) == ([], [], [])
    far.sendall(b"headbody")
    assert handler.select([buffered], [], [], 0) == ([buffered], [], [])
    assert buffered.take(4) is None  # nothing was read yet
    assert buffered.recv(2) == b"he"
    assert buffered.take(2) == b"ad"
    assert buffered.take(5) is None
    assert buffered.pending() == 4
    assert handler.select([buffered], [], [], None) == (
        [buffered],
        [],
        [],
    )  # poll() alone would wait for ever
    assert buffered.recv(100) == b"body"
    assert handler.select([buffered], [], [], 0) == ([], [], [])
    far.close()
    assert handler.select([buffered], [], [], 0) == ([buffered], [], [])
    assert buffered.recv(4) == b""


def test_other_sockets_are_seen_while_one_has_bytes_in_memory(pair):
    near, far = pair
    buffered, handler = BufferedSocket(near), Handler(None, 1.0)
    reader, waker = handler.create_socket_pair()
    far.sendall(b"12")
    buffered.recv(1)
    waker.send(b"\0")
    assert handler.select([buffered, reader], [], [], None)[0] == [buffered, reader]
    assert handler.select([], [buffered], [], None) == ([], [buffered], [])
    reader.close()
    waker.close()


def test_waking_never_blocks():
    reader, waker = Handler(None, 1.0).create_socket_pair()
    for _ in range(100_000):
        assert waker.send(b"\0") == 1
    assert reader.recv(4096)
    reader.close()
    waker.close()

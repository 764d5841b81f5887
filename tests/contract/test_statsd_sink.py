"""The statsd sink, over a real socket."""

import contextlib
import socket

from poolmgr.cli.demo.sink import StatsdSink


def test_it_remembers_each_name_once_and_what_was_malformed():
    with contextlib.closing(StatsdSink()) as sink:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"nodepool.a:1|g\nnodepool.b:2|c", ("127.0.0.1", sink.port))
            sender.sendto(b"nodepool.a:3|g\nnonsense", ("127.0.0.1", sink.port))
        sink.drain()
    assert sink.values == {"nodepool.a": "3|g", "nodepool.b": "2|c"}
    assert sink.malformed == ["nonsense"]

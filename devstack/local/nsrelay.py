"""Shows services on this machine's loopback inside a network namespace, at the same addresses.

    nsrelay.py NAMESPACE PORT...

Listens on 127.0.0.1:PORT in the namespace and carries each connection to 127.0.0.1:PORT out here. A socket belongs
to the namespace that it was made in, whichever thread uses it later, so only the making of one has to happen inside.
"""

import asyncio
import ctypes
import os
import socket
import sys
from collections.abc import Awaitable, Callable

LOOPBACK = "127.0.0.1"
CLONE_NEWNET = 0x40000000  # linux/sched.h
CHUNK = 1 << 16

libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def enter(namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def listener(namespace: str, port: int) -> socket.socket:
    """A socket that listens in the namespace, made from out here."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        enter(there)
        try:
            return socket.create_server((LOOPBACK, port))
        finally:
            enter(here)
    finally:
        os.close(here)
        os.close(there)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the reader's side ends; the other direction may still go on after that."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


def relay_to(port: int) -> Handler:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            out_reader, out_writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, out_writer), carry(out_reader, writer))
        writer.close()
        out_writer.close()

    return relay


async def main(namespace: str, ports: list[int]) -> None:
    for port in ports:
        await asyncio.start_server(relay_to(port), sock=listener(namespace, port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [int(port) for port in sys.argv[2:]]))

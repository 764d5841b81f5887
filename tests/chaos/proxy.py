"""A TCP proxy whose wire can be cut, stalled or slowed. All proxies of a run share one thread with an event loop."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

_CHUNK = 65536
#: Linger on, for no seconds: closing sends a reset. Without it even abort() is an orderly end for the other side.
_NO_LINGER = struct.pack("ii", 1, 0)


class Wire(enum.Enum):
    WHOLE = "whole"
    CUT = "cut"  # connections are reset, new ones too
    STALLED = "stalled"  # connections stay, nothing comes through in either direction


class Loop:
    """A thread with an event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10.0)

    def close(self) -> None:
        self.run(self._end_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        self.loop.close()

    async def _end_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Proxy:
    """From a port of 127.0.0.1 to another. `port` is known once it is made; methods may be called from any thread."""

    def __init__(self, loop: Loop, target_port: int) -> None:
        self._loop = loop
        self._target = target_port
        self._wire = Wire.WHOLE
        self._flows: asyncio.Event  # set while bytes may pass
        self._writers: set[asyncio.StreamWriter] = set()
        self.delay = 0.0  # seconds before bytes are passed on
        self.greeting = b""  # what the target said first, on the last connection where it said something
        self._server: asyncio.Server
        self.port = int(loop.run(self._open()))

    def set(self, wire: Wire) -> None:
        self._loop.run(self._set(wire))

    def reset(self) -> None:
        """Break the connections that there are; new ones go through."""
        self._loop.run(self._reset())

    @property
    def connected(self) -> bool:
        return bool(self._writers)

    def close(self) -> None:
        self._loop.run(self._close())

    async def _open(self) -> int:
        self._flows = asyncio.Event()
        self._flows.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _set(self, wire: Wire) -> None:
        self._wire = wire
        if wire is Wire.STALLED:
            self._flows.clear()
            return
        if wire is Wire.CUT:
            self._break()
        self._flows.set()

    async def _reset(self) -> None:
        self._break()

    async def _close(self) -> None:
        self._server.close()
        self._break()
        self._flows.set()

    def _break(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._wire is Wire.CUT:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer, answers=True))
        finally:
            self._writers -= ends
            for end in ends:
                end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        first = answers
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if first:
                    self.greeting, first = data[:64], False
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
            await self._flows.wait()
            writer.write_eof()
            return
        _reset(writer)  # the other direction ends with it


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # it is gone already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()

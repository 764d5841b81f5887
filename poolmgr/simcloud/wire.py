"""HTTP/1.1 with keep-alive, as little of it as API clients use, for an asyncio loop.

One request of a connection is at work at a time; what a client sends meanwhile waits in the buffer. Bodies
come with Content-Length or chunked. A body goes to the request's sink piece by piece if the application gives
it one, else it is collected. A sink may answer before the body is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, cast

_MAX_HEAD = 64 << 10
_MAX_BODY = 32 << 20  # of a body that is collected
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Sink(Protocol):
    """Takes a body as it comes in."""

    def feed(self, piece: bytes) -> Response | None:
        """An answer ends it: it is sent at once, what is left of the body is read and thrown away."""


@dataclass(kw_only=True, slots=True)
class Request:
    """`headers` by lower-case name. `body` is empty where a sink took it. `context` is the application's own."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""
    sink: Sink | None = None
    context: object = None

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"


@dataclass(kw_only=True, slots=True)
class Response:
    """`dropped`: the connection is closed instead of an answer, in the middle of a request after `seconds`.

    `cut`: the connection closes in the middle of the answer.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    dropped: bool = False
    seconds: float = 0.0
    cut: bool = False


DROPPED = Response(dropped=True)


class Application(Protocol):
    """What stands behind the wire. Both methods run in the loop and must not block."""

    def sink_for(self, request: Request) -> Sink | None:
        """Where the body of a request goes that has only begun; None: collect it."""

    def handle(self, request: Request, answer: Callable[[Response], None]) -> None:
        """Call `answer` once, now or later."""


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, application: Application, open_connections: set[HttpProtocol]) -> None:
        self._application, self._open = application, open_connections
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._request: Request | None = None  # whose body is coming in
        self._collected = bytearray()
        self._left: int | None = None  # bytes of the body, or of its chunk; None: not in a body
        self._chunked = False
        self._discarding = False  # the request is answered, but its body is still coming
        self._busy = False  # a request is being answered
        self._advancing = False
        self._head_only = False
        self._close_after = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        self._transport = None
        self._open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._advance()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- reading -----------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Go on as far as the buffer allows. An answer that comes at once returns here, not one call deeper."""
        if self._advancing:
            return
        self._advancing = True
        going = True
        while going and not self._busy and self._transport is not None:
            going = self._read_head() if self._request is None else self._read_body()
        self._advancing = False

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD:
                self._refuse(431)
            return False
        head = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 4]
        lines = head.split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            self._refuse(400)
            return False
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        path, _, query = parts[1].partition("?")
        request = Request(method=parts[0], path=path, query=query, headers=headers)
        return self._begin_body(request, parts[2])

    def _begin_body(self, request: Request, version: str) -> bool:
        connection = request.headers.get("connection", "").lower()
        self._close_after = connection == "close" or (version == "HTTP/1.0" and connection != "keep-alive")
        self._chunked = request.chunked
        length = request.headers.get("content-length", "0")
        if not length.isdigit():
            self._refuse(400)
            return False
        self._left = 0 if self._chunked else int(length)
        self._request = request
        if self._chunked or self._left:
            request.sink = self._application.sink_for(request)
            if request.headers.get("expect", "").lower() == "100-continue" and self._transport:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _read_body(self) -> bool:
        if self._chunked and not self._left:
            return self._read_chunk_size()
        if self._left:
            self._take_piece()
            if self._left:
                return False
        if not self._chunked:
            self._complete()
        return True

    def _read_chunk_size(self) -> bool:
        """The line before a chunk; the empty line after the one before is skipped here."""
        if self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        try:
            size = int(bytes(self._buffer[:end]).split(b";")[0], 16)
        except ValueError:
            self._refuse(400)
            return False
        if size == 0 and len(self._buffer) < end + 4:
            return False  # trailers are not supported: the end is 0 and two line ends
        del self._buffer[: end + (4 if size == 0 else 2)]
        self._left = size
        if size == 0:
            self._complete()
        return True

    def _take_piece(self) -> None:
        request = self._request
        if request is None or self._left is None:
            return
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: len(piece)]
        self._left -= len(piece)
        if self._discarding:
            return
        if request.sink is not None:
            early = request.sink.feed(piece)
            if early is not None:
                self._answer_early(early)
        elif len(self._collected) + len(piece) > _MAX_BODY:
            self._refuse(413)
        else:
            self._collected += piece

    def _complete(self) -> None:
        request = self._request
        if request is None:
            return
        request.body, self._collected = bytes(self._collected), bytearray()
        self._request, self._left = None, None
        if self._discarding:
            self._discarding = False
            if self._close_after and self._transport is not None:
                self._transport.close()
            return
        self._busy = True
        self._head_only = request.method == "HEAD"
        self._application.handle(request, self._answer)

    # -- writing -----------------------------------------------------------------------------------------

    def _refuse(self, status: int) -> None:
        self._close_after = True
        self._busy = True
        self._answer(Response(status=status))

    def _answer_early(self, response: Response) -> None:
        """Answer a request whose body is not complete. A drop with `seconds` reads nothing more until then."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._discarding = True
        if not response.dropped:
            transport.write(_rendered(response, head_only=False))
        elif response.seconds > 0:
            transport.pause_reading()
            asyncio.get_running_loop().call_later(response.seconds, transport.abort)
        else:
            transport.abort()

    def _answer(self, response: Response) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if response.dropped:
            transport.abort()
            return
        rendered = _rendered(response, head_only=self._head_only)
        transport.write(rendered[: -max(1, len(response.body) // 2)] if response.cut else rendered)
        if self._close_after or response.cut:
            transport.close()
            return
        self._busy = False
        if self._buffer:
            self._advance()


def _rendered(response: Response, *, head_only: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}"]
    if response.status != 204 and "Content-Length" not in response.headers:
        lines.append(f"Content-Length: {len(response.body)}")
    if response.body:
        lines.append(f"Content-Type: {response.content_type}")
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if head_only else head + response.body

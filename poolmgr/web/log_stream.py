"""A build's log as an answer: what is there, or, while the build goes on, all that comes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from poolmgr.web.build_files import CHUNK, OpenFile

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
#: Seconds between looks at a log that is followed.
POLL = 0.3


class FileAnswer(Response):
    """The rest of an open file as it is now; closes it."""

    def __init__(self, file: OpenFile, media_type: str) -> None:
        self._file = file
        self._left = file.size - file.position
        super().__init__(media_type=media_type, headers={**HEADERS, "Content-Length": str(self._left)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(_start(self))
            if scope["method"] != "HEAD":
                await self._send_all(Request(scope, receive), send)
            await send(_body(b"", more=False))
        finally:
            self._file.close()

    async def _send_all(self, request: Request, send: Send) -> None:
        left = self._left
        while left > 0 and not await request.is_disconnected():
            chunk = await run_in_threadpool(self._file.read, min(CHUNK, left))
            if not chunk:
                return
            left -= len(chunk)
            await send(_body(chunk))


class FollowAnswer(Response):
    """The rest of an open file and what is appended to it, until `over()`, asked on a thread, says it is complete.

    It also ends, and closes the file, when the client goes away or `stopping` is set. `done` is called at the end.
    """

    def __init__(
        self,
        file: OpenFile,
        *,
        over: Callable[[], bool],
        stopping: threading.Event,
        done: Callable[[], None],
    ) -> None:
        self._file = file
        self._over = over
        self._stopping = stopping
        self._done = done
        super().__init__(media_type="text/plain", headers=HEADERS)
        del self.headers["content-length"]  # nobody knows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(_start(self))
            if scope["method"] != "HEAD":
                await self._follow(Request(scope, receive), send)
            await send(_body(b"", more=False))
        finally:
            self._file.close()
            self._done()

    async def _follow(self, request: Request, send: Send) -> None:
        while not self._stopping.is_set() and not await request.is_disconnected():
            over = await run_in_threadpool(self._over)  # before reading: what was written until then is read
            while chunk := await run_in_threadpool(self._file.read):
                await send(_body(chunk))
                if await request.is_disconnected():
                    return
            if over:
                return
            await asyncio.sleep(POLL)


def _start(response: Response) -> dict[str, object]:
    return {
        "type": "http.response.start",
        "status": response.status_code,
        "headers": response.raw_headers,
    }


def _body(data: bytes, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": more}

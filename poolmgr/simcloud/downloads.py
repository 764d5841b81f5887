"""What a pretend cloud fetches itself, for web-download imports: really, over HTTP, in a thread of the loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http.client import HTTPException
from urllib.request import ProxyHandler, build_opener

from poolmgr.simcloud.content import Digest
from poolmgr.simcloud.spool import Spool
from poolmgr.simcloud.world import SimCloud

_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 256 << 10

Done = Callable[[Digest | None, str], None]


def fetching(cloud: SimCloud, loop: asyncio.AbstractEventLoop, spool: Spool) -> Callable[[str, Done], None]:
    """An imports.Fetch for `cloud`: it returns at once, and tells under the cloud's lock."""

    def tell(done: Done, digest: Digest | None, why: str) -> None:
        with cloud.lock:
            cloud.timeline.settle()
            done(digest, why)

    def work(uri: str, done: Done) -> None:
        digest, why = _download(uri, Digest(spool.take()))
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, done, digest, why)

    def fetch(uri: str, done: Done) -> None:
        loop.run_in_executor(None, work, uri, done)

    return fetch


def _download(uri: str, digest: Digest) -> tuple[Digest | None, str]:
    """The bytes at `uri`, or None and why not. No proxy: what a test serves is on this machine."""
    if not uri.startswith(("http://", "https://")):
        return None, f"Invalid URI: {uri}"
    try:
        with build_opener(ProxyHandler({})).open(uri, timeout=_TIMEOUT) as answer:
            while piece := answer.read(_PIECE):
                digest.feed(piece)
    except (OSError, ValueError, HTTPException) as error:
        return None, f"Download of {uri} failed: {error}"
    return digest, ""

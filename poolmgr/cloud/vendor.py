"""Profiles that vendors publish on their web servers, kept on disk (cloud.md 2).

A vendor's web server must not decide whether a launcher starts: what it once gave is used while it is a day old or
younger, and longer when the server does not answer or answers nonsense.
"""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from poolmgr.errors import CloudUnavailable, ConfigError, PoolmgrError, Rejected
from poolmgr.runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)

FRESH = 24 * 3600.0  # seconds for which nobody is asked again
TIMEOUT = 10.0  # seconds, for all of it
LARGEST = 256 * 1024  # bytes
MOST_REDIRECTS = 3


class VendorProfiles:
    """`poolmgr.config.clouds_profiles.RemoteProfiles` with a cache; nothing happens before `text` is called.

    `environ` tells where the cache is: $XDG_CACHE_HOME/poolmgr/profiles, else in ~/.cache. `download` None: nobody
    is asked, only what is on disk is used.
    """

    def __init__(
        self,
        clock: Clock,
        environ: Mapping[str, str],
        *,
        download: Callable[[str], str] | None = lambda url: fetched(url, SystemClock()),
    ) -> None:
        self._clock = clock
        self._environ = environ
        self._download = download

    def text(self, url: str, *, check: Callable[[str], object]) -> str:
        """As in the protocol. Raises ConfigError, CloudUnavailable or Rejected when there is no good one."""
        file = self._directory() / f"{urlsplit(url).netloc.replace(':', '_')}.json"
        kept = _kept(file, check)
        if kept is not None and self._is_fresh(file):
            return kept
        try:
            text = self._asked(url)
            check(text)
        except (CloudUnavailable, Rejected, ConfigError) as error:
            if kept is None:
                raise
            log.warning("%s; the copy in %s is used", error, file)
            return kept
        _keep(file, text)
        return text

    def _asked(self, url: str) -> str:
        if self._download is None:
            raise ConfigError(f"{url} is not at hand; `poolmgr cloud config` asks for it")
        return self._download(url)

    def _is_fresh(self, file: Path) -> bool:
        return self._download is None or abs(self._clock.time() - file.stat().st_mtime) < FRESH

    def _directory(self) -> Path:
        cache = self._environ.get("XDG_CACHE_HOME")
        home = self._environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
        return (Path(cache) if cache else Path(home) / ".cache") / "poolmgr" / "profiles"


def _kept(file: Path, check: Callable[[str], object]) -> str | None:
    """What is on disk, if it is still good."""
    with suppress(OSError, UnicodeDecodeError, PoolmgrError):
        text = file.read_text(encoding="utf-8")
        check(text)
        return text
    return None


def _keep(file: Path, text: str) -> None:
    """Write it, at once or not at all. Without a cache everything works as long as the vendor answers."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(f".{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        new.replace(file)
    except OSError as error:
        log.warning("the profile cannot be kept in %s: %s", file, error.strerror)


def fetched(url: str, clock: Clock, *, verify: bool | str = True) -> str:
    """The text at `url`, from https only, also after redirects, within ten seconds.

    `verify` may name a file of CA certificates. Raises CloudUnavailable when there is no answer, Rejected for one that
    cannot be used.
    """
    import requests  # a tenth of a second to load: not for those who have it on disk

    until = clock.monotonic() + TIMEOUT
    try:
        for _ in range(MOST_REDIRECTS + 1):
            if urlsplit(url).scheme != "https":
                raise Rejected(f"{url} is not https")
            left = max(until - clock.monotonic(), 0.1)
            with requests.get(
                url,
                timeout=left,
                stream=True,
                allow_redirects=False,
                verify=verify,
                auth=lambda request: request,
            ) as response:
                if response.is_redirect:
                    url = urljoin(url, response.headers["location"])
                    continue
                if response.status_code != requests.codes.ok:
                    raise Rejected(f"{url} answers {response.status_code} {response.reason}")
                return _body(url, response.iter_content(8192), until, clock)
        raise Rejected(f"{url} is one redirect too many")
    except requests.RequestException as error:
        raise CloudUnavailable(f"{url} does not answer: {type(error).__name__}") from error


def _body(url: str, chunks: Iterator[bytes], until: float, clock: Clock) -> str:
    body = b""
    for chunk in chunks:
        body += chunk
        if clock.monotonic() > until:
            raise CloudUnavailable(f"{url} takes longer than {TIMEOUT:g} seconds")
        if len(body) > LARGEST:
            raise Rejected(f"{url} is larger than {LARGEST:,} bytes")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Rejected(f"{url} is not UTF-8 text") from error

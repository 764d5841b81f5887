"""Why a request got no answer: exceptions of requests, urllib3, ssl and the system, read in one place."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import requests
from urllib3 import exceptions as urllib3

from poolmgr.errors import CloudError
from poolmgr.model.trouble import Trouble

E = TypeVar("E", bound=CloudError)

#: Codes of X509_verify_cert(3) for certificates that are right, but for another host or another time.
_OTHER_HOST = (62, 64)
_OTHER_TIME = (9, 10)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)
#: OpenSSL's words for an answer that is no TLS at all.
_NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER",
)

#: Troubles in which the request cannot have reached the service: no connection, or none that it would speak on.
_NOT_SENT = frozenset(
    {
        Trouble.UNKNOWN_HOST,
        Trouble.CONNECTION_REFUSED,
        Trouble.UNREACHABLE,
        Trouble.PROXY_FAILED,
        Trouble.UNTRUSTED_CERTIFICATE,
        Trouble.CERTIFICATE_OF_ANOTHER_HOST,
        Trouble.EXPIRED_CERTIFICATE,
        Trouble.BAD_CERTIFICATE_FILE,
        Trouble.PLAIN_HTTP,
        Trouble.BAD_URL,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """A request without an answer: why, what came back in short, and whether it may have been carried out."""

    trouble: Trouble
    words: str

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the cloud. A connection that was never made carried nothing."""
        return self.trouble not in _NOT_SENT

    def error(self, leaf: type[E], who: object) -> E:
        """`who` asked what of whom."""
        return self.trouble.error(leaf, f"{who}: {self.words}")


def silence_of(error: OSError) -> Silence:
    """What `error`, raised for one request, means; requests' own exceptions are of this kind too."""
    trouble, words = _told(list(_chain(error)))
    return Silence(trouble=trouble, words=words)


def cause_of(error: BaseException) -> OSError | None:
    """The failure to talk that `error` was made of; None if it is about something else."""
    return next((e for e in _chain(error) if isinstance(e, OSError)), None)


def _told(chain: list[BaseException]) -> tuple[Trouble, str]:
    """The trouble, and what came back in short, without the URL that requests repeats. `chain` is not empty."""
    if any(isinstance(e, requests.exceptions.ProxyError | urllib3.ProxyError) for e in chain):
        return Trouble.PROXY_FAILED, f"the proxy: {_text(chain[-1])}"
    for error in reversed(chain):  # the innermost knows best
        found = _certificate(error) or _tls(error) or _connection(error)
        if found is not None:
            return found
    for error in chain:
        if isinstance(error, requests.RequestException):
            return _of_requests(error, chain[-1])
    return Trouble.BAD_CERTIFICATE_FILE, _text(chain[-1])  # requests looks for the files before it connects


def _certificate(error: BaseException) -> tuple[Trouble, str] | None:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    words = f"the certificate: {getattr(error, 'verify_message', '') or _text(error)}"
    if getattr(error, "verify_code", 0) in _OTHER_HOST:
        return Trouble.CERTIFICATE_OF_ANOTHER_HOST, words
    if getattr(error, "verify_code", 0) in _OTHER_TIME:
        return Trouble.EXPIRED_CERTIFICATE, words
    return Trouble.UNTRUSTED_CERTIFICATE, words


def _tls(error: BaseException) -> tuple[Trouble, str] | None:
    if not isinstance(error, ssl.SSLError) or isinstance(error, TimeoutError):
        return None
    reason = str(error.reason or error)
    if any(word in reason for word in _NO_TLS):
        return Trouble.PLAIN_HTTP, "what came back is no TLS"
    if "EOF" in reason:
        return Trouble.TLS_FAILED, "the connection was cut off within TLS"
    if error.library in ("X509", "PEM", "CONF") or "KEY_VALUES_MISMATCH" in reason:
        return Trouble.BAD_CERTIFICATE_FILE, _text(error)
    return Trouble.TLS_FAILED, f"TLS: {_text(error)}"


def _connection(error: BaseException) -> tuple[Trouble, str] | None:
    match error:
        case socket.gaierror() | urllib3.NameResolutionError():
            return Trouble.UNKNOWN_HOST, "the host name is not known"
        case ConnectionRefusedError():
            return Trouble.CONNECTION_REFUSED, "connection refused"
        case requests.exceptions.ConnectTimeout() | urllib3.ConnectTimeoutError():
            return Trouble.UNREACHABLE, "no connection in time"
        case requests.exceptions.Timeout() | urllib3.ReadTimeoutError():
            return Trouble.SILENT, "no answer in time"
        case OSError(errno=number) if number in _NO_WAY:
            return Trouble.UNREACHABLE, _text(error)
        case ConnectionError() | urllib3.ProtocolError():
            return Trouble.CUT_OFF, f"the connection was cut off ({_text(error)})"
    return None


def _of_requests(error: requests.RequestException, innermost: BaseException) -> tuple[Trouble, str]:
    if isinstance(error, ValueError):  # InvalidURL, MissingSchema, ...
        return Trouble.BAD_URL, _text(error)
    never = isinstance(innermost, urllib3.NewConnectionError)
    return Trouble.UNREACHABLE if never else Trouble.CUT_OFF, _text(innermost)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error`, what it came from, and so on to the first; no loop."""
    seen: set[int] = set()
    now: object = error
    while isinstance(now, BaseException) and id(now) not in seen:
        seen.add(id(now))
        yield now
        inside = next((arg for arg in now.args if isinstance(arg, BaseException)), None)
        now = now.__cause__ or now.__context__ or getattr(now, "reason", None) or inside


def _text(error: BaseException) -> str:
    """The words of an exception on one line; of those of the system without the number."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, urllib3.ProtocolError) and error.args:  # (words, the exception behind it)
        words = str(error.args[0])
    return " ".join((words or type(error).__name__).split())[:200]

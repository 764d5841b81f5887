"""Exceptions of libraries and of the system, and what they mean."""

from __future__ import annotations

import errno
import itertools
import socket
import ssl

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError, ProtocolError
from urllib3.exceptions import SSLError as Urllib3SSLError

from poolmgr.cloud.openstack.noanswer import cause_of, silence_of
from poolmgr.errors import CloudUnavailable
from poolmgr.model.trouble import Trouble

URL = "https://nova/secret-query"


def chained(*errors: BaseException) -> BaseException:
    """The first of `errors`, each of which came from the next."""
    for outer, inner in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


def wrapped(inner: BaseException) -> BaseException:
    """As requests raises what happened while it connected."""
    reason = NewConnectionError(None, "Failed to establish a new connection")  # type: ignore[arg-type]
    return chained(requests.ConnectionError(MaxRetryError(None, URL, reason)), reason, inner)  # type: ignore[arg-type]


def certificate(code: int, words: str) -> BaseException:
    inner = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    inner.verify_code, inner.verify_message = code, words
    return chained(requests.exceptions.SSLError("x"), Urllib3SSLError("y"), inner)


def tls(reason: str, library: str = "SSL") -> BaseException:
    inner = ssl.SSLError(1, f"[{library}: {reason}] words (_ssl.c:1006)")
    inner.reason, inner.library = reason, library
    return chained(requests.exceptions.SSLError("x"), inner)


@pytest.mark.parametrize(
    ("error", "trouble", "words", "sent"),
    [
        (
            wrapped(ConnectionRefusedError(111, "Connection refused")),
            Trouble.CONNECTION_REFUSED,
            "refused",
            False,
        ),
        (wrapped(socket.gaierror(-2, "Name or service not known")), Trouble.UNKNOWN_HOST, "not known", False),
        (
            requests.ConnectionError(MaxRetryError(None, URL, NameResolutionError("n", None, OSError()))),  # type: ignore[arg-type]
            *(Trouble.UNKNOWN_HOST, "the host name is not known", False),
        ),
        (
            wrapped(OSError(errno.ENETUNREACH, "Network is unreachable")),
            Trouble.UNREACHABLE,
            "Network is",
            False,
        ),
        (requests.ConnectTimeout("x"), Trouble.UNREACHABLE, "no connection in time", False),
        (requests.ReadTimeout("x"), Trouble.SILENT, "no answer in time", True),
        (requests.exceptions.ProxyError("cannot"), Trouble.PROXY_FAILED, "the proxy: cannot", False),
        (
            requests.ConnectionError(
                ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
            ),
            *(Trouble.CUT_OFF, "the connection was cut off (reset)", True),
        ),
        (
            requests.exceptions.ChunkedEncodingError(ProtocolError("Response ended prematurely")),
            *(Trouble.CUT_OFF, "cut off (Response ended prematurely)", True),
        ),
        (certificate(18, "self-signed certificate"), Trouble.UNTRUSTED_CERTIFICATE, "self-signed", False),
        (certificate(64, "IP address mismatch"), Trouble.CERTIFICATE_OF_ANOTHER_HOST, "mismatch", False),
        (certificate(62, "Hostname mismatch"), Trouble.CERTIFICATE_OF_ANOTHER_HOST, "mismatch", False),
        (certificate(10, "certificate has expired"), Trouble.EXPIRED_CERTIFICATE, "has expired", False),
        (certificate(9, "certificate is not yet valid"), Trouble.EXPIRED_CERTIFICATE, "not yet valid", False),
        (tls("WRONG_VERSION_NUMBER"), Trouble.PLAIN_HTTP, "no TLS", False),
        (tls("UNEXPECTED_EOF_WHILE_READING"), Trouble.TLS_FAILED, "cut off within TLS", True),
        (tls("SSLV3_ALERT_HANDSHAKE_FAILURE"), Trouble.TLS_FAILED, "TLS: ", True),
        (tls("NO_CERTIFICATE_OR_CRL_FOUND", "X509"), Trouble.BAD_CERTIFICATE_FILE, "NO_CERTIFICATE", False),
        (
            OSError("Could not find a suitable TLS CA certificate bundle"),
            Trouble.BAD_CERTIFICATE_FILE,
            "CA",
            False,
        ),
        (
            requests.exceptions.InvalidURL("Failed to parse: https://"),
            Trouble.BAD_URL,
            "Failed to parse",
            False,
        ),
        (requests.exceptions.MissingSchema("No scheme supplied"), Trouble.BAD_URL, "No scheme", False),
        (requests.ConnectionError("odd"), Trouble.CUT_OFF, "odd", True),
    ],
    ids=lambda value: value.value if isinstance(value, Trouble) else None,
)
def test_what_an_exception_means(error, trouble, words, sent):
    silence = silence_of(error)
    assert (silence.trouble, silence.sent) == (trouble, sent)
    assert words in silence.words
    assert "secret-query" not in silence.words
    told = silence.error(CloudUnavailable, "cloud north: compute: GET /")
    assert str(told).startswith("cloud north: compute: GET /: ")


def test_a_failure_to_talk_is_found_under_what_was_made_of_it():
    refused = ConnectionRefusedError(111, "Connection refused")
    assert cause_of(chained(ValueError("x"), RuntimeError("y"), refused)) is refused
    assert cause_of(chained(ValueError("x"), RuntimeError("y"))) is None


def test_exceptions_that_came_from_each_other_have_an_end():
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert cause_of(one) is None

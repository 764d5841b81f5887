"""How a host is reached: its TLS, and until when its certificate is good."""

from __future__ import annotations

import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import requests

from poolmgr.cloud.openstack.errors import Call
from poolmgr.cloud.openstack.noanswer import silence_of
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import CloudUnavailable
from poolmgr.model.cloud_report import TlsFacts

TIMEOUT = 10.0  # seconds, to connect and to agree


def host_of(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def tls_facts(settings: CloudSettings, url: str) -> TlsFacts | None:
    """The TLS of the host in `url`; None where a proxy stands between, which would not let us look.

    Raises CloudUnavailable.
    """
    scheme, host, port = host_of(url)
    if scheme != "https":
        return TlsFacts(host=host, port=port, protocol="", checked=False, issuer="", names=(), not_after=None)
    if requests.utils.get_environ_proxies(url).get("https"):
        return None
    try:
        context = _context(settings, url)
        with (
            socket.create_connection((host, port), timeout=TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            return _facts(host, port, wrapped)
    except OSError as error:
        call = Call(settings.name, "tls", "connect", f"https://{host}:{port}")
        raise silence_of(error).error(CloudUnavailable, call) from error


def _context(settings: CloudSettings, url: str) -> ssl.SSLContext:
    """As the calls have it: requests brings the authorities it trusts."""
    if not settings.verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        said = requests.Session().merge_environment_settings(url, {}, None, None, None)["verify"]
        bundle = said if isinstance(said, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
        trusted = settings.cacert or bundle
        context = ssl.create_default_context(cafile=trusted)
    if settings.cert:
        context.load_cert_chain(settings.cert, settings.key)
    return context


def _facts(host: str, port: int, wrapped: ssl.SSLSocket) -> TlsFacts:
    """A certificate that was not checked is not told by Python, so its facts are absent."""
    certificate: dict[str, Any] = dict(wrapped.getpeercert() or {})
    issuer = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    ends = certificate.get("notAfter")
    return TlsFacts(
        host=host,
        port=port,
        protocol=wrapped.version() or "",
        checked=bool(certificate),
        issuer=issuer.get("organizationName") or issuer.get("commonName") or "",
        names=tuple(value for _, value in certificate.get("subjectAltName", ())),
        not_after=float(ssl.cert_time_to_seconds(ends)) if ends else None,
    )

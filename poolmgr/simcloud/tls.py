"""A certificate for pretend clouds behind HTTPS: signed by itself, so that it is its own authority (cacert)."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_OTHER_HOST = "other.example"


def server_context(kind: str, host: str, directory: Path) -> tuple[ssl.SSLContext, Path]:
    """For a server at `host` (an address), and the file of its certificate, new in `directory`.

    `kind`: self-signed (right for who trusts it), expired (yesterday), other-host (it names another one).
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key, None if kind == "other-host" else host, expired=kind == "expired")
    file, key_file = directory / "certificate.pem", directory / "certificate.key"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return context, file


def _certificate(key: ec.EllipticCurvePrivateKey, host: str | None, *, expired: bool) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host or _OTHER_HOST)])
    said: x509.GeneralName = x509.IPAddress(ip_address(host)) if host else x509.DNSName(_OTHER_HOST)
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now + timedelta(days=-1 if expired else 30))
        .add_extension(x509.SubjectAlternativeName([said]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )

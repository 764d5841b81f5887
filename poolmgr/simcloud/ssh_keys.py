"""Host keys of guests: each server has its own, made from its id, so that nothing must be stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from poolmgr.simcloud.ssh_wire import mpint, string

Sign = Callable[[bytes], bytes]  # exchange hash -> signature blob without its algorithm name


class HostKey:
    """One host key. `algorithms` are the signature algorithms it serves, `blob` its public key on the wire."""

    def __init__(
        self, kind: str, algorithms: tuple[str, ...], blob: bytes, sign: Callable[[str, bytes], bytes]
    ):
        self.kind, self.algorithms, self.blob, self._sign = kind, algorithms, blob, sign

    def signature(self, algorithm: str, data: bytes) -> bytes:
        return string(algorithm.encode()) + string(self._sign(algorithm, data))


@lru_cache(maxsize=4096)
def host_key(key_type: str, seed: int, server_id: str) -> HostKey:
    """The key of a type (ed25519, ecdsa, rsa) of a server. RSA keys are slow to make: all servers share one."""
    secret = hashlib.sha256(f"{seed}/{server_id}/{key_type}".encode()).digest()
    return {"ed25519": _ed25519, "ecdsa": _ecdsa, "rsa": _rsa}[key_type](secret)


def _ed25519(secret: bytes) -> HostKey:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = string(b"ssh-ed25519") + string(public)
    return HostKey("ssh-ed25519", ("ssh-ed25519",), blob, lambda _, data: key.sign(data))


def _ecdsa(secret: bytes) -> HostKey:
    key = ec.derive_private_key(int.from_bytes(secret, "big") >> 1 | 1, ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    name = b"ecdsa-sha2-nistp256"

    def sign(_: str, data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return mpint(r) + mpint(s)

    blob = string(name) + string(b"nistp256") + string(public)
    return HostKey(name.decode(), (name.decode(),), blob, sign)


@lru_cache(maxsize=1)
def _shared_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _rsa(secret: bytes) -> HostKey:  # noqa: ARG001 - as the other makers
    key = _shared_rsa()
    numbers = key.public_key().public_numbers()
    blob = string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)

    def sign(algorithm: str, data: bytes) -> bytes:
        digest = hashes.SHA512() if algorithm.endswith("512") else hashes.SHA256()
        return key.sign(data, padding.PKCS1v15(), digest)

    return HostKey("ssh-rsa", ("rsa-sha2-512", "rsa-sha2-256"), blob, sign)

"""From what a program asks for to what the cloud is asked for; all that can be refused without the cloud is refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from poolmgr.config.problem import did_you_mean
from poolmgr.errors import ConfigError, Rejected
from poolmgr.model.server import Flavor
from poolmgr.model.trouble import Trouble
from poolmgr.policy.flavors import choose_flavor

#: Keys of metadata that say whose a server is; given by a user, they would make it a launcher's to delete.
OWNER_PREFIXES = ("nodepool_", "poolmgr_")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """As a label of a pool says it: a name or id; or memory, and then a part of the name."""

    flavor_name: str | None
    min_ram_mib: int


def flavor_for(cloud: str, flavors: Iterable[Flavor], name: str | None, min_ram: int | None) -> Flavor:
    """The flavor of that name or id; with `min_ram` (MiB) the smallest with as much, whose name contains `name`.

    Raises Rejected when there is none.
    """
    if not name and not min_ram:
        raise Rejected(f"cloud {cloud}: name a flavor, or the memory (min_ram, MiB) it must have")
    known = list(flavors)
    same = [flavor.id for flavor in known if flavor.name == name]
    if len(same) > 1 and not min_ram:
        message = f"cloud {cloud}: flavor {name}: several have this name: {', '.join(same)}"
        raise Trouble.FLAVOR_AMBIGUOUS.error(Rejected, message)
    flavor = choose_flavor(known, Wish(flavor_name=name or None, min_ram_mib=min_ram or 0))
    if flavor is not None:
        return flavor
    names = sorted({f.name for f in known})
    wish = f"no flavor {name}" if name else "no flavor"
    wish += f" with {min_ram} MiB" if min_ram else ""
    hint = did_you_mean(name, names) if name else ""
    message = f"cloud {cloud}: {wish}; {hint + ' ' if hint else ''}it has {', '.join(names) or 'none'}"
    raise Trouble.FLAVOR_UNKNOWN.error(Rejected, message)


def checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """`metadata` if it claims nothing. Raises Rejected for keys by which launchers know their servers."""
    for key in metadata:
        if key.startswith(OWNER_PREFIXES):
            raise Rejected(
                f"metadata {key}: keys that begin with {' or '.join(OWNER_PREFIXES)} say whose a server is"
            )
    return {key: str(value) for key, value in metadata.items()}


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """An SSH public key, and the name it gets in a cloud if none is given: always the same for the same key."""

    text: str
    name: str


def public_key_of(path: str) -> PublicKey:
    """The key in a file as `~/.ssh/id_ed25519.pub`. Raises ConfigError for anything else, above all a private key."""
    file = Path(path).expanduser()
    try:
        words = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"key file {file}: {getattr(error, 'strerror', None) or 'not a text'}") from error
    if len(words) < 2 or words[0].startswith("-----") or not _is_key(words[1]):
        raise ConfigError(f"key file {file}: not a public key; name the one that ends in .pub")
    fingerprint = hashlib.sha256(words[1].encode()).hexdigest()[:16]
    return PublicKey(text=" ".join(words), name=f"poolmgr-{fingerprint}")


def _is_key(word: str) -> bool:
    try:
        return len(base64.b64decode(word, validate=True)) > 16
    except binascii.Error:
        return False

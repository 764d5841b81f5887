"""What providers and pools of every driver have in common (`spec/config.md` section 5)."""

from __future__ import annotations

from collections.abc import Mapping

from poolmgr.config.shape import COUNT, MAPPING, NAME, TEXT, Part, Shape

PROVIDER_KEYS: Mapping[str, Shape] = {
    "name": NAME,
    "driver": TEXT,
    "max-concurrency": COUNT,
    "priority": COUNT,
}

POOL_KEYS: Mapping[str, Shape] = {
    "name": NAME,
    "max-servers": COUNT,
    "priority": COUNT,
    "node-attributes": MAPPING,
}


def concurrency_is_meant(provider: Part) -> None:
    """The reference's manual takes 0 for no limit; it never was."""
    if provider.get("max-concurrency") == 0:
        provider.at("max-concurrency").warning("the provider accepts no request", hint="-1 is no limit")

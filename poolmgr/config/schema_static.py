"""The shape of a `static` provider (`spec/config.md` section 7)."""

from __future__ import annotations

import voluptuous as vol

from poolmgr.config import oldkeys
from poolmgr.config.schema_provider import POOL_KEYS, PROVIDER_KEYS, concurrency_is_meant
from poolmgr.config.shape import FLAG, NAME, PORT, SECONDS, TEXT, ListOf, Part, Section, Value, Whole


def _texts(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise vol.Invalid("not texts")
    return tuple(texts)


def _labels(value: object) -> tuple[str, ...]:
    """One text may name several labels; the reference offered them all and registered none of them."""
    return tuple(value.split()) if isinstance(value, str) else _texts(value)


def _labels_are_meant(node: Part) -> None:
    labels = node.get("labels")
    if labels == ():
        node.at("labels").doubt("the node has no labels", hint="nobody can ask for it")
    elif labels and isinstance(node.at("labels").value, str) and len(labels) > 1:
        node.at("labels").warning(f"read as {len(labels)} labels", hint="write a list")


def _port_is_meant(node: Part) -> None:
    """The reference's manual gives winrm nodes 5986; they always had 22."""
    if node.get("connection-type") == "winrm" and "connection-port" not in node:
        node.at("connection-type").warning(
            "the port is 22, as for every static node", hint="write 'connection-port: 5986' if that is meant"
        )


NODE = Section(
    what="static node",
    keys={
        "name": NAME,
        "labels": Value(schema=_labels, allowed="a label, or a list of labels", empty=tuple),
        "username": TEXT,
        "timeout": SECONDS,
        "host-key-checking": FLAG,
        "host-key": Value(schema=_texts, allowed="a host key, or a list of host keys", empty=tuple),
        "connection-port": PORT,
        "connection-type": TEXT,
        "shell-type": TEXT,
        "max-parallel-jobs": Whole(unit="slots", low=0),
        "python-path": TEXT,
    },
    required=frozenset({"name", "labels"}),
    old=oldkeys.STATIC_NODE,
    rules=(_labels_are_meant, _port_is_meant),
)

POOL = Section(
    what="pool",
    keys={**POOL_KEYS, "nodes": ListOf(item=NODE, what="static nodes")},
    required=frozenset({"name"}),
)

STATIC = Section(
    what="provider",
    keys={**PROVIDER_KEYS, "pools": ListOf(item=POOL, what="pools")},
    required=frozenset({"name"}),
    rules=(concurrency_is_meant,),
)

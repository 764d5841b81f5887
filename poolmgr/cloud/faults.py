"""What the fault of a server in ERROR is about, from its words: Nova tells no more than a sentence (cloud.md 3.18)."""

from __future__ import annotations

from poolmgr.model.server import FaultKind

#: Words in a fault's message, in lower case, and what they mean. All words of a row must occur; the first row counts.
_WORDS: tuple[tuple[tuple[str, ...], FaultKind], ...] = (
    (("quota", "exceed"), FaultKind.QUOTA),
    (("limitexceeded", "maximum number of volumes"), FaultKind.QUOTA),  # Cinder's, as Nova repeats it
    (("limitexceeded", "maximum number of gigabytes"), FaultKind.QUOTA),
    (("no valid host",), FaultKind.CAPACITY),
    (("exceeded maximum number of retries",), FaultKind.CAPACITY),
    (("insufficient compute resources",), FaultKind.CAPACITY),
    (("failed to allocate the network",), FaultKind.CAPACITY),
    (("ipaddressgenerationfailure",), FaultKind.CAPACITY),
    (("no more ip addresses",), FaultKind.CAPACITY),
    (("externalipaddressexhausted",), FaultKind.CAPACITY),
    (("did not finish being created",), FaultKind.CAPACITY),
    (("block device mapping is invalid",), FaultKind.CAPACITY),  # the volume was not there in time
    (("image", "could not be found"), FaultKind.IMAGE),
    (("can not find requested image",), FaultKind.IMAGE),
)


def fault_kind(message: str) -> FaultKind:
    """What a fault with this message is about."""
    text = message.lower()
    for words, kind in _WORDS:
        if all(word in text for word in words):
            return kind
    return FaultKind.OTHER

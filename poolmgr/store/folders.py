"""Directories: znodes without data that others are kept below."""

from __future__ import annotations

from contextlib import suppress

from poolmgr.store import paths
from poolmgr.store.tree import Create, Delete, Refusal, Refused, Session, Write


def ensure(session: Session, folder: str) -> None:
    """Make `folder` and what is missing above it. Never use it for what is above a record of someone else.

    Raises StoreUnavailable.
    """
    with suppress(Refused):  # most often it is there, and reading is cheaper
        session.get(folder)
        return
    try:
        session.commit(Write(Create(folder)))
    except Refused as refused:
        if refused.why is Refusal.NO_NODE and paths.parent(folder):
            ensure(session, paths.parent(folder))
            ensure(session, folder)


def ensure_below(session: Session, top: str, folder: str) -> None:
    """Make `folder`, which is somewhere below `top`, and what is missing between them; never `top` itself.

    Raises Refused when `top` is not there, StoreUnavailable.
    """
    try:
        session.commit(Write(Create(folder)))
    except Refused as refused:
        if refused.why is Refusal.EXISTS:
            return
        if paths.parent(folder) == top:
            raise
        ensure_below(session, top, paths.parent(folder))
        ensure_below(session, top, folder)


def below(session: Session, path: str) -> list[Delete]:
    """What deletes everything below `path`, deepest first; nothing if it does not exist."""
    try:
        names = session.children(path)
    except Refused:
        return []
    deletes = []
    for child in (f"{path}/{name}" for name in names):
        deletes += below(session, child)
        deletes.append(Delete(child))
    return deletes

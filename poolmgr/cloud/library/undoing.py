"""What a create call that fails owes: that nothing of it is left, or that everybody hears what is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from poolmgr.cloud.library.making import Making
from poolmgr.cloud.library.parts import Parts
from poolmgr.cloud.library.records import Stage
from poolmgr.cloud.library.removing import Removal
from poolmgr.errors import PoolmgrError

UNDO_TIMEOUT = 300.0  # seconds


@contextmanager
def undone_on_failure(parts: Parts, making: Making) -> Iterator[None]:
    """Deletes everything `making` made when the block raises, whatever it is, Ctrl-C included."""
    try:
        yield
    except BaseException as error:
        if making.server_id is not None or making.unknown_since is not None:
            _undo(parts, making, error)
        raise


def _undo(parts: Parts, making: Making, error: BaseException) -> None:
    """Raises whatever but a PoolmgrError interrupts it; what may be left is then in a note on it, else on `error`."""
    making.say(Stage.CLEANING, str(error) or type(error).__name__)
    removal = Removal(
        parts,
        server_ids=[making.server_id] if making.server_id else [],
        owners=[making.owner],
        volumes=making.volumes if making.on_volume else None,
        unknown_since=making.unknown_since,
    )
    try:
        removal.run(UNDO_TIMEOUT)
    except PoolmgrError as trouble:
        error.add_note(f"{trouble}; {_advice(parts, making)}")
    except BaseException as interruption:
        interruption.add_note(f"interrupted while cleaning up; {_advice(parts, making)}")
        raise


def _advice(parts: Parts, making: Making) -> str:
    if making.server_id is not None:
        return f"delete what is left with: poolmgr cloud delete-server {parts.name} {making.server_id}"
    return (
        f"a server may be left: poolmgr cloud list-servers {parts.name} shows it, and clean removes it later"
    )

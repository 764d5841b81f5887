"""The shape of `validate` of a disk image: how a fresh upload is tried before it serves.

It is inherited or replaced as a whole, never key by key; `validate: false` takes a parent's away.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from poolmgr.config.shape import NAME, SECONDS, Part, Section, Spot

_WAYS = "'command' (a text for the login shell) or 'script' (a local file, given to sh)"


def _one_way_to_try(validation: Part) -> None:
    ways = {"command", "script"} & validation.given
    if len(ways) != 1:
        what = "both 'command' and 'script' are given" if ways else "there is nothing to try"
        validation.spot.error(what, found="", allowed=f"either {_WAYS}", hint="false: do not try uploads")


def _files_are_there(validation: Part) -> None:
    """Only a warning: the file may be checked on another machine than the builder's."""
    for key in ("script", "private-key"):
        path = validation.get(key)
        if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            validation.at(key).warning(
                "there is no such file to read here",
                allowed="a file on the builder's machine, best with its full path",
                hint="until it is there, no upload passes",
            )


def _zero_counts_as_absent(validation: Part) -> None:
    if validation.get("timeout") == 0:
        validation.at("timeout").warning("0 counts as not given", hint="the default holds")


SECTION = Section(
    what="validation",
    keys={
        "label": NAME,
        "command": NAME,
        "script": NAME,
        "timeout": SECONDS,
        "private-key": NAME,
        "username": NAME,
    },
    required=frozenset({"label"}),
    rules=(_one_way_to_try, _files_are_there, _zero_counts_as_absent),
)


@dataclass(frozen=True, kw_only=True)
class _Validation:
    """A Part, or None where uploads are not tried."""

    empty: Callable[[], Any] | None = lambda: None

    def check(self, value: Any, at: Spot) -> Any:
        """The Part, None for `false`."""
        if value is False:
            return None
        return SECTION.check(value, at)


VALIDATE = _Validation()

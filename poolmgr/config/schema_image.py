"""The shape of top-level disk images (`spec/config.md` section 4), and of what a cloud is told about an image."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import voluptuous as vol
from cronsim import CronSim, CronSimError

from poolmgr.config import oldkeys
from poolmgr.config.formats import FORMATS
from poolmgr.config.problem import did_you_mean
from poolmgr.config.schema_validation import VALIDATE
from poolmgr.config.shape import (
    FLAG,
    MAPPING,
    NAME,
    SECONDS,
    TEXT,
    TEXTS,
    Advice,
    Part,
    Section,
    Value,
)


def _release(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise vol.Invalid("not a release")
    return str(value)


def _shell_words(value: object) -> str:
    if not isinstance(value, str):
        raise vol.Invalid("not a text")
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise Advice(f"a shell cannot split it: {str(error).lower()}") from error
    if not words:
        raise vol.Invalid("no command")
    return value


def _path_element(value: object) -> str:
    """Image names are names of files and of ZooKeeper nodes."""
    if not isinstance(value, str) or not value or "/" in value:
        raise vol.Invalid("not a name")
    return value


def _cron(value: object) -> str:
    """Five fields; the library's sixth, for seconds, would build an image every second."""
    if not isinstance(value, str):
        raise vol.Invalid("not a cron expression")
    fields = value.split()
    if fields and len(fields) != len(_CRON_FIELDS):
        raise Advice(f"{len(fields)} fields instead of {len(_CRON_FIELDS)}")
    try:
        if fields:
            next(CronSim(value, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise Advice(f"{str(error).lower()} ({_blamed(str(error), fields)})") from error
    except StopIteration as error:
        raise Advice("there is no such day") from error
    return " ".join(fields)


def _blamed(complaint: str, fields: list[str]) -> str:
    name = complaint.rpartition(" ")[2]
    return repr(fields[_CRON_FIELDS.index(name)]) if name in _CRON_FIELDS else " ".join(fields)


def _kept(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise vol.Invalid("not a number")
    if value < 1:
        raise Advice("the newest always stays; an image goes when no provider and no 'diskimages' names it")
    return value


def _options(value: object) -> str:
    """Of qemu-img's option `-o`: comma separated, one word for the image command."""
    if not isinstance(value, str):
        raise vol.Invalid("not a text")
    if any(letter.isspace() for letter in value) or "'" in value:
        raise Advice("no blanks and no quotes: the options are separated by commas")
    return value


_CRON_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_KEPT = Value(schema=_kept, allowed="a whole number, 1 or more")

ENV_VARS = Value(
    schema={str: str}, allowed="a mapping of names to texts (quote numbers)", empty=dict, hidden=True
)


def _zero_counts_as_absent(image: Part) -> None:
    for key in ("rebuild-age", "build-timeout"):
        if image.get(key) == 0:
            image.at(key).warning("0 counts as not given", hint="the parent's value or the default holds")


def _formats_are_known(image: Part) -> None:
    for key in ("formats", "keep-formats"):
        for i, name in enumerate(image.get(key, ())):
            if name not in FORMATS:
                image.at(key).step(i).warning(
                    "diskimage-builder makes no such format",
                    allowed=f"{', '.join(FORMATS)}; another one only if 'dib-cmd' makes it",
                    hint=did_you_mean(name, FORMATS),
                )


DISKIMAGE = Section(
    what="disk image",
    keys={
        "name": Value(schema=_path_element, allowed="a text without '/'"),
        "abstract": FLAG,
        "parent": NAME,
        "dib-cmd": Value(schema=_shell_words, allowed="a command line"),
        "elements": TEXTS,
        "env-vars": ENV_VARS,
        "formats": TEXTS,
        "keep-formats": TEXTS,
        "delete-after-upload": FLAG,
        "rebuild-age": SECONDS,
        "rebuild-cron": Value(  # ours, as the next four
            schema=_cron,
            allowed="five fields in UTC: minute, hour, day of month, month, day of week; '' for none",
            empty=str,
        ),
        "qemu-img-options": Value(schema=_options, allowed="options of qemu-img, '' for none", empty=str),
        "keep-builds": _KEPT,
        "keep-uploads": _KEPT,
        "validate": VALIDATE,
        "build-timeout": SECONDS,
        "release": Value(schema=_release, allowed="a text or a whole number (quote a number with a point)"),
        "pause": FLAG,
        "username": TEXT,
        "python-path": TEXT,
        "shell-type": TEXT,
        "metadata": MAPPING,
    },
    required=frozenset({"name"}),
    old=oldkeys.IMAGE,
    advice={"meta": "it is 'metadata' here ('meta' is a key of an image in a provider)"},
    rules=(_zero_counts_as_absent, _formats_are_known),
)

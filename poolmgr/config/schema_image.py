"""The shape of top-level disk images (`spec/config.md` section 4), and of what a cloud is told about an image."""

from __future__ import annotations

import shlex

import voluptuous as vol

from poolmgr.config import oldkeys
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


ENV_VARS = Value(
    schema={str: str}, allowed="a mapping of names to texts (quote numbers)", empty=dict, hidden=True
)


def _zero_counts_as_absent(image: Part) -> None:
    for key in ("rebuild-age", "build-timeout"):
        if image.get(key) == 0:
            image.at(key).warning("0 counts as not given", hint="the parent's value or the default holds")


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
    rules=(_zero_counts_as_absent,),
)

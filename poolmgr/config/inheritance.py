"""What a disk image gets from its parents (`spec/config.md` section 4, column "Inherit").

Compatible with the reference also where that surprises; the surprises are warned about: `metadata` is never
inherited, `pause: false` cannot undo a parent's pause, and a 0 or an empty list counts as not given. Of the keys that
are ours each is the parent's unless given; an empty `rebuild-cron` or `qemu-img-options` and `validate: false` undo it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poolmgr.config.problem import did_you_mean
from poolmgr.config.shape import Part

DEFAULTS: Mapping[str, Any] = {
    "dib-cmd": "disk-image-create",
    "elements": (),
    "env-vars": {},
    "formats": (),
    "keep-formats": (),
    "delete-after-upload": False,
    "rebuild-age": None,
    "rebuild-cron": "",
    "qemu-img-options": "compat=0.10",
    "keep-builds": 2,
    "keep-uploads": 2,
    "validate": None,
    "build-timeout": 28800,
    "release": "",
    "pause": False,
    "username": "zuul",
    "python-path": "auto",
    "shell-type": None,
    "metadata": {},
}
_WHEN_GIVEN = (
    "dib-cmd",
    "delete-after-upload",
    "username",
    "python-path",
    "shell-type",
    "rebuild-cron",
    "qemu-img-options",
    "keep-builds",
    "keep-uploads",
    "validate",
)
_WHEN_NOT_EMPTY = ("formats", "keep-formats", "rebuild-age", "build-timeout", "release")


def lineage(image: Part, images: Mapping[str, Part]) -> tuple[Part, ...]:
    """`image` and its parents, the eldest first; it ends where a parent is missing or comes again."""
    line = [image]
    while (parent := images.get(line[-1].get("parent", ""))) is not None and parent not in line:
        line.append(parent)
    return tuple(reversed(line))


def effective(line: Sequence[Part]) -> dict[str, Any]:
    """Every inheritable key of the last of `line` (eldest first), defaults filled in.

    `rebuild-age` is None where nobody gave one: what that means depends on `rebuild-cron`.
    """
    values = dict(DEFAULTS)
    for part in line:
        values |= {key: part[key] for key in _WHEN_GIVEN if key in part}
        values |= {key: part[key] for key in _WHEN_NOT_EMPTY if part.get(key)}
        values["elements"] = (*values["elements"], *part.get("elements", ()))
        values["env-vars"] = {**values["env-vars"], **part.get("env-vars", {})}
        values["pause"] = values["pause"] or part.get("pause", False)
        values["metadata"] = part.get("metadata", {})
    return values


def check_parents(images: Mapping[str, Part]) -> None:
    """Report parents that are missing or their own ancestors, and what is not inherited as one may think."""
    for image in images.values():
        line = lineage(image, images)
        if not _parent_exists(image, images) or _own_ancestor(image, line):
            continue
        _no_surprise(image, line[:-1])


def _parent_exists(image: Part, images: Mapping[str, Part]) -> bool:
    parent = image.get("parent")
    if parent is None or parent in images:
        return True
    image.at("parent").error(
        f"parent {parent!r} is not defined",
        allowed="the name of a disk image",
        hint=did_you_mean(parent, images),
    )
    return False


def _own_ancestor(image: Part, line: Sequence[Part]) -> bool:
    if line[0].get("parent") != image.name:
        return False
    names = [str(part.name) for part in reversed(line)]
    image.at("parent").error("the image is its own ancestor", hint=" -> ".join([*names, str(image.name)]))
    return True


def _no_surprise(image: Part, parents: Sequence[Part]) -> None:
    if image.get("pause") is False and any(part.get("pause") for part in parents):
        image.at("pause").warning("a parent is paused, so the image is paused", hint="unpause the parent")
    if image.get("abstract") or "metadata" in image or not parents:
        return
    if parents[-1].get("metadata"):
        image.spot.warning("metadata of the parent is not inherited", found="", hint="repeat it in the image")

"""By which of the ways that exist an image goes to a cloud (cloud.md 3.4): pure.

What the operator says is the first choice and not the only one: a way that a cloud turns out not to take gives room
to the next, as long as there is one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from poolmgr.config.settings import CloudSettings


class Way(enum.Enum):
    """How the bytes get there; `value` is the word of clouds.yaml (`image_upload_method`)."""

    PUT = "put"
    IMPORT = "import"  # glance-direct: staged, then imported
    WEB_DOWNLOAD = "web-download"  # the cloud fetches them
    TASKS = "tasks"  # by way of the object store
    V1 = "v1"


#: What Glance calls the ways that its import has.
GLANCE_NAMES = {Way.IMPORT: "glance-direct", Way.WEB_DOWNLOAD: "web-download"}

#: First choices, and what is tried after them.
_ORDER = {
    "auto": (Way.PUT, Way.IMPORT),
    "put": (Way.PUT, Way.IMPORT),
    "import": (Way.IMPORT, Way.PUT),
    "web-download": (Way.WEB_DOWNLOAD, Way.IMPORT, Way.PUT),
    "tasks": (Way.TASKS,),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadFacts:
    """What is known of a cloud. `import_methods` are Glance's names."""

    version: int  # of the Image API
    import_methods: frozenset[str] = frozenset()
    has_object_store: bool = False
    has_url: bool = False  # the cloud could fetch the file from somewhere
    refused: frozenset[Way] = frozenset()  # the cloud was asked and does not take them


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """The choice. `way` None: there is none, and `reason` says why."""

    way: Way | None
    reason: str


def upload_method(settings: CloudSettings, facts: UploadFacts) -> Method:
    """The way to upload by; every input has an answer."""
    asked = settings.image_upload_method
    if asked == "auto" and settings.image_api_use_tasks:
        asked = "tasks"
    if facts.version == 1:
        return _version_1(asked)
    if asked == "v1":
        return Method(way=None, reason="the cloud has version 2 of the Image API: set image_api_version: '1'")
    order = _ORDER[asked]
    problems: list[str] = []
    for way in order:
        problem = _problem(way, facts)
        if problem is None:
            return Method(way=way, reason=_reason(settings, problems))
        problems.append(problem)
    return Method(way=None, reason=", ".join(problems))


def may_import(settings: CloudSettings, facts: UploadFacts) -> bool:
    """Whether the choice depends on what the cloud's import can do."""
    if facts.version == 1 or settings.image_upload_method == "tasks":
        return False
    return settings.image_upload_method in ("import", "web-download") or Way.PUT in facts.refused


def _version_1(asked: str) -> Method:
    if asked in ("auto", "v1"):
        return Method(way=Way.V1, reason="version-1")
    return Method(way=None, reason=f"the cloud has only version 1 of the Image API, {asked} needs version 2")


def _problem(way: Way, facts: UploadFacts) -> str | None:
    """Why `way` cannot be gone; None if it can."""
    if way in facts.refused:
        return f"{way.value}-refused"
    if way is Way.TASKS and not facts.has_object_store:
        return "tasks need an object store, and the cloud has none"
    if way is Way.WEB_DOWNLOAD and not facts.has_url:
        return "no-url"
    if way in GLANCE_NAMES and GLANCE_NAMES[way] not in facts.import_methods:
        return f"{way.value}-not-offered"
    return None


def _reason(settings: CloudSettings, problems: list[str]) -> str:
    if problems:
        return ", ".join(problems)
    if settings.image_upload_method != "auto":
        return "configured"
    return "use-tasks" if settings.image_api_use_tasks else "default"

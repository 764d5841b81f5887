"""Calls to Glance's tasks, by which some clouds take images, and nothing else (Image API v2, "Tasks").

The list of tasks does not say what a task is about; each has to be looked at.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poolmgr.cloud.openstack.errors import Forbidden
from poolmgr.cloud.openstack.service import Service
from poolmgr.errors import NotFound, Rejected

#: How many of the newest tasks are looked at for one that was made before a crash.
LOOK_BACK = 20


class TaskStatus(enum.Enum):
    AT_WORK = "at-work"  # pending, processing
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportTask:
    """`source` is the `<container>/<object>` it imports, "" where the cloud does not tell."""

    id: str
    status: TaskStatus
    source: str = ""
    image_id: str | None = None
    message: str = ""


class ImportTasks:
    """What we ask of tasks. `service` is the Image service's."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def create(self, source: str, image_name: str) -> ImportTask:
        """A task that makes an image of an object. Raises OutcomeUnknown, Rejected."""
        wanted = {"import_from": source, "image_properties": {"name": image_name}}
        return task_of(self._service.post("/tasks", {"type": "import", "input": wanted}).json())

    def get(self, task_id: str) -> ImportTask:
        return task_of(self._service.get(f"/tasks/{task_id}").json())

    def find(self, source: str) -> ImportTask | None:
        """A task that imports `source` and has not failed; None where tasks cannot be listed."""
        query = {"type": "import", "sort_key": "created_at", "sort_dir": "desc", "limit": str(LOOK_BACK)}
        try:
            rows = self._service.get("/tasks", query).json().get("tasks")
        except (NotFound, Rejected, Forbidden):
            return None
        newest = [row for row in rows or () if isinstance(row, Mapping) and row.get("status") != "failure"]
        for row in newest[:LOOK_BACK]:
            try:
                task = self.get(str(row.get("id")))
            except NotFound:
                continue
            if task.source == source and task.status is not TaskStatus.FAILURE:
                return task
        return None


def task_of(raw: Mapping[str, Any]) -> ImportTask:
    """A task of `GET /tasks/{id}`. A status we do not know is one at work."""
    given, result = _section(raw, "input"), _section(raw, "result")
    word = str(raw.get("status") or "").lower()
    known = {status.value: status for status in TaskStatus}
    return ImportTask(
        id=str(raw.get("id") or ""),
        status=known.get(word, TaskStatus.AT_WORK),
        source=str(given.get("import_from") or ""),
        image_id=str(result["image_id"]) if result.get("image_id") else None,
        message=str(raw.get("message") or ""),
    )


def _section(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = raw.get(name)
    return found if isinstance(found, Mapping) else {}

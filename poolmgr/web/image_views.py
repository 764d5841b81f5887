"""Builds, uploads and orders about images as rows (cli-web.md 1.1 and 3).

The reference's keys come first, with its meaning: `age` is the whole second, since the epoch, of the last change of
state. What poolmgr adds follows them; there too times are whole seconds since the epoch. Pure, as `views`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from poolmgr.model.image import Build, BuildState, ImageOrder, Order, Upload, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.builds import expected_duration, retry_at
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.web.views import Column, Row, age_text, size_text

#: Seconds after the first failure, as the builders have it.
_RETRY_FIRST = ImageTuning().retry_first


def _since(key: str) -> Callable[[Row, float], str]:
    """Shows the time under `key` as the age it means."""
    return lambda row, now: "" if row[key] is None else age_text(now - row[key])


def _until(key: str) -> Callable[[Row, float], str]:
    """Shows the time under `key` as what is left until then."""
    return lambda row, now: "" if row[key] is None else age_text(row[key] - now)


def _percent(row: Row, _now: float) -> str:
    return "" if row["progress"] is None else f"{row['progress']} %"


def _size(row: Row, _now: float) -> str:
    return "" if row["size"] is None else size_text(row["size"])


def _sizes(row: Row, _now: float) -> str:
    return ", ".join(f"{name} {size_text(size)}" for name, size in row["sizes"].items())


def _count(key: str) -> Callable[[Row, float], str]:
    """Shows a number, and nothing for none."""
    return lambda row, _now: str(row[key] or "")


UPLOAD_COLUMNS = (
    Column("id", "Build ID"),
    Column("upload_id", "Upload ID"),
    Column("provider", "Provider"),
    Column("image", "Image"),
    Column("external_name", "Provider Image Name"),
    Column("external_id", "Provider Image ID"),
    Column("state", "State"),
    Column("age", "Age", _since("age")),
)
UPLOAD_DETAIL_COLUMNS = (
    *UPLOAD_COLUMNS,
    Column("format", "Format"),
    Column("size", "Size", _size),
    Column("phase", "Phase"),
    Column("progress", "Progress", _percent),
    Column("eta", "Left", _until("eta")),
    Column("nodes", "Nodes", _count("nodes")),
    Column("failures", "Failures", _count("failures")),
    Column("next_attempt", "Next Attempt", _until("next_attempt")),
    Column("reason", "Reason"),
    Column("builder", "Builder"),
)
BUILD_COLUMNS = (
    Column("id", "ID"),
    Column("image", "Image"),
    Column("builder", "Builder"),
    Column("formats", "Formats"),
    Column("state", "State"),
    Column("age", "Age", _since("age")),
)
BUILD_DETAIL_COLUMNS = (
    *BUILD_COLUMNS,
    Column("build_state", "Build State"),
    Column("cause", "Cause"),
    Column("phase", "Phase"),
    Column("progress", "Progress", _percent),
    Column("eta", "Left", _until("eta")),
    Column("sizes", "Sizes", _sizes),
    Column("nodes", "Nodes", _count("nodes")),
    Column("failures", "Failures", _count("failures")),
    Column("next_attempt", "Next Attempt", _until("next_attempt")),
    Column("reason", "Reason"),
    Column("log", "Log"),
)
STATUS_COLUMNS = (
    Column("image", "Image"),
    Column("paused", "Paused"),
    Column("build_request", "Build Request"),
    Column("build_request_age", "Build Request Age", _since("build_request_age")),
)
STATUS_DETAIL_COLUMNS = (
    *STATUS_COLUMNS,
    Column("paused_by", "Paused By"),
    Column("pause_reason", "Pause Reason"),
    Column("requested_by", "Requested By"),
    Column("request_reason", "Request Reason"),
)
BUILD_REQUEST_COLUMNS = (
    Column("image", "Image"),
    Column("state", "State"),
    Column("age", "Age", _since("age")),
    Column("requested_by", "Requested By"),
    Column("reason", "Reason"),
)
MANIFEST_COLUMNS = (
    Column("id", "ID"),
    Column("image", "Image"),
    Column("formats", "Formats"),
    Column("sizes", "Sizes", _sizes),
    Column("age", "Age", _since("age")),
    Column("manifest", "Manifest"),
)


def upload_rows(snapshot: Snapshot, *, now: float, retry_max: float) -> list[Row]:
    """All uploads by image, provider and age. `retry_max`: the setting `image_retry_max`, in seconds."""
    found = sorted(snapshot.uploads(), key=lambda u: (u.image, u.provider, u.state_time, u.id))
    return [upload_row(snapshot, upload, now=now, retry_max=retry_max) for upload in found]


def upload_row(snapshot: Snapshot, upload: Upload, *, now: float, retry_max: float) -> Row:
    """One upload. `progress` is in percent; `nodes`: how many boot, or booted, from it and are still there."""
    going = upload.state is UploadState.UPLOADING
    last = _is_last(upload, snapshot.uploads_to(upload.image, upload.provider))
    return {
        "id": upload.build,
        "upload_id": upload.id,
        "provider": upload.provider,
        "image": upload.image,
        "external_name": upload.external_name,
        "external_id": upload.external_id,
        "state": upload.state.value,
        "age": int(upload.state_time),
        "format": upload.format,
        "builder": upload.builder,
        "phase": upload.phase if going else None,
        "method": upload.method,
        "progress": _share(upload.sent, upload.size) if going else None,
        "sent": upload.sent if going else None,
        "size": upload.size,
        "eta": _upload_end(upload, now) if going else None,
        "started": _whole(upload.started),
        "duration": upload.duration,
        "reason": upload.reason,
        "failures": upload.failures,
        "next_attempt": _next_attempt(upload, retry_max) if last else None,
        "sha256": upload.sha256,
        "evidence": upload.evidence,
        "nodes": len(snapshot.nodes_from(upload.path)),
    }


def build_rows(snapshot: Snapshot, *, now: float, retry_max: float) -> list[Row]:
    """All builds by image and age. `retry_max`: the setting `image_retry_max`, in seconds."""
    found = sorted(snapshot.builds(), key=lambda b: (b.image, b.state_time, b.id))
    return [build_row(snapshot, build, now=now, retry_max=retry_max) for build in found]


def build_row(snapshot: Snapshot, build: Build, *, now: float, retry_max: float) -> Row:
    """One build. `state` of a paused image's is `paused`, as the reference has it; `build_state` is the record's."""
    paused = snapshot.order(build.image, Order.PAUSE) is not None
    going = build.state is BuildState.BUILDING
    expected = expected_duration(snapshot, build.image) if going else None
    started = build.state_time if build.started is None else build.started
    return {
        "id": build.name,
        "image": build.image,
        "builder": build.builder,
        "formats": list(build.format_names),
        "state": "paused" if paused else build.state.value,
        "age": int(build.state_time),
        "build_state": build.state.value,
        "cause": build.cause,
        "phase": build.phase if going else None,
        "progress": _share(now - started, expected) if going else None,
        "expected": expected,
        "eta": _whole(started + expected) if expected is not None else None,
        "started": _whole(build.started),
        "duration": build.duration,
        "reason": build.reason,
        "failures": build.failures,
        "next_attempt": _next_attempt(build, retry_max)
        if _is_last(build, snapshot.builds_of(build.image))
        else None,
        "exit_code": build.rc,
        **_files(build),
        "space": build.space,
        "config_hash": build.config_hash,
        "nodes": sum(len(snapshot.nodes_from(u.path)) for u in snapshot.uploads_of(build.image, build.id)),
        "log": f"{build.url}/build-log/{build.name}" if build.url else None,
        "manifest": _manifest(build),
    }


def status_rows(snapshot: Snapshot) -> list[Row]:
    """Images that the store knows, by name: whether paused, and whether a build was asked for."""
    return [_status_row(snapshot, image) for image in sorted(snapshot.images())]


def build_request_rows(snapshot: Snapshot) -> list[Row]:
    """Builds that someone asked for and that are not done yet, the oldest first."""
    return [
        {
            "image": order.image,
            "state": request_state(snapshot, order),
            "age": int(order.at),
            "requested_by": order.by,
            "reason": order.reason,
        }
        for order in sorted(snapshot.orders(Order.BUILD), key=lambda o: (o.at, o.image))
    ]


def request_state(snapshot: Snapshot, order: ImageOrder) -> str:
    """`building` while a build goes on that began after the order and so will answer it, else `pending`."""
    going = (b for b in snapshot.builds_of(order.image) if b.state is BuildState.BUILDING)
    return "building" if any(b.started is None or b.started >= order.at for b in going) else "pending"


def manifest_rows(snapshot: Snapshot) -> list[Row]:
    """Builds whose manifest can be fetched, by image and age."""
    ready = (b for b in snapshot.builds() if _manifest(b))
    return [
        {
            "id": build.name,
            "image": build.image,
            "builder": build.builder,
            "formats": list(build.format_names),
            "age": int(build.state_time),
            **_files(build),
            "config_hash": build.config_hash,
            "manifest": _manifest(build),
        }
        for build in sorted(ready, key=lambda b: (b.image, b.state_time, b.id))
    ]


def _status_row(snapshot: Snapshot, image: str) -> Row:
    pause = snapshot.order(image, Order.PAUSE)
    request = snapshot.order(image, Order.BUILD)
    return {
        "image": image,
        "paused": pause is not None,
        "build_request": request_state(snapshot, request) if request else None,
        "build_request_age": int(request.at) if request else None,
        "paused_since": int(pause.at) if pause else None,
        "paused_by": pause.by if pause else None,
        "pause_reason": pause.reason if pause else None,
        "requested_by": request.by if request else None,
        "request_reason": request.reason if request else None,
    }


def _files(build: Build) -> Row:
    """Sizes in bytes and hashes by format, as far as the record has them."""
    files = {name: build.file(name) for name in build.files}
    return {
        "sizes": {name: file.size for name, file in files.items() if file},
        "sha256": {name: file.sha256 for name, file in files.items() if file and file.sha256},
    }


def _manifest(build: Build) -> str | None:
    """Where its manifest is; None while there is none, and for builds of nodepool-builder."""
    return f"{build.url}/manifest/{build.name}" if build.url and build.state is BuildState.READY else None


def _share(part: float, whole: float | None) -> int | None:
    """Percent, at most 99: that something is complete, its state tells."""
    return None if not whole else max(0, min(99, int(100 * part / whole)))


def _upload_end(upload: Upload, now: float) -> int | None:
    """When all bytes are out, if they go on as they did since it began."""
    if upload.started is None or not upload.size or not 0 < upload.sent < upload.size:
        return None
    return int(now + (now - upload.started) * (upload.size - upload.sent) / upload.sent)


def _is_last(record: Build | Upload, others: Iterable[Build | Upload]) -> bool:
    """Whether it is the latest attempt, so that, if it failed, the next one follows it."""
    return all(
        other.state_time <= record.state_time
        for other in others
        if other.state not in (BuildState.DELETING, UploadState.DELETING)
    )


def _next_attempt(record: Build | Upload, retry_max: float) -> int | None:
    if record.state not in (BuildState.FAILED, UploadState.FAILED):
        return None
    return int(retry_at(max(1, record.failures), record.state_time, first=_RETRY_FIRST, most=retry_max))


def _whole(when: float | None) -> int | None:
    return None if when is None else int(when)

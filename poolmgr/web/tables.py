"""Every table that can be asked for over HTTP: its path, its columns, its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from poolmgr.model.snapshot import Snapshot
from poolmgr.web import image_views, provider_views, views
from poolmgr.web.views import Column, Row


@dataclass(frozen=True, kw_only=True)
class Question:
    """`node_id`: only this node. `retry_max`: as the settings have it, in seconds. `now`: epoch seconds."""

    now: float
    retry_max: float
    node_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """`columns` are shown without `fields`, which can name those in `more` as well; () for `more`: there are none."""

    columns: Sequence[Column]
    more: Sequence[Column] = ()
    rows: Callable[[Snapshot, Question], list[Row]]
    takes_node_id: bool = False

    def chosen(self, fields: str | None) -> tuple[Column, ...]:
        """The columns that `fields`, a comma list of keys, asks for, in the fixed order; unknown keys are ignored."""
        if not fields:
            return tuple(self.columns)
        wanted: Collection[str] = {name.strip() for name in fields.split(",")}
        return tuple(column for column in self.more or self.columns if column.key in wanted)


ENDPOINTS = {
    "/image-list": Endpoint(
        columns=image_views.UPLOAD_COLUMNS,
        more=image_views.UPLOAD_DETAIL_COLUMNS,
        rows=lambda snapshot, q: image_views.upload_rows(snapshot, now=q.now, retry_max=q.retry_max),
    ),
    "/dib-image-list": Endpoint(
        columns=image_views.BUILD_COLUMNS,
        more=image_views.BUILD_DETAIL_COLUMNS,
        rows=lambda snapshot, q: image_views.build_rows(snapshot, now=q.now, retry_max=q.retry_max),
    ),
    "/dib-request-list": Endpoint(
        columns=image_views.BUILD_REQUEST_COLUMNS,
        rows=lambda snapshot, _: image_views.build_request_rows(snapshot),
    ),
    "/image-status": Endpoint(
        columns=image_views.STATUS_COLUMNS,
        more=image_views.STATUS_DETAIL_COLUMNS,
        rows=lambda snapshot, _: image_views.status_rows(snapshot),
    ),
    "/manifest-list": Endpoint(
        columns=image_views.MANIFEST_COLUMNS,
        rows=lambda snapshot, _: image_views.manifest_rows(snapshot),
    ),
    "/node-list": Endpoint(
        columns=views.NODE_DETAIL_COLUMNS,
        rows=lambda snapshot, q: views.node_rows(snapshot, now=q.now, node_id=q.node_id),
        takes_node_id=True,
    ),
    "/provider-list": Endpoint(
        columns=provider_views.PROVIDER_COLUMNS,
        rows=lambda snapshot, q: provider_views.provider_rows(snapshot, now=q.now),
    ),
    "/request-list": Endpoint(
        columns=views.REQUEST_COLUMNS,
        rows=lambda snapshot, _: views.request_rows(snapshot),
    ),
    "/label-list": Endpoint(
        columns=views.LABEL_COLUMNS,
        rows=lambda snapshot, _: views.label_rows(snapshot),
    ),
}

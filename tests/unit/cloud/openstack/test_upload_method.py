"""Which way an image goes up: a table."""

from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.upload_method import UploadFacts, Way, may_import, upload_method
from poolmgr.config.settings import CloudSettings

BOTH = frozenset({"glance-direct", "web-download"})


def settings(method="auto", *, tasks=False):
    return CloudSettings(name="north", image_upload_method=method, image_api_use_tasks=tasks)


def facts(version=2, **more):
    return UploadFacts(version=version, **more)


@pytest.mark.parametrize(
    ("wanted", "known", "way", "reason"),
    [
        # nothing said
        (settings(), facts(), Way.PUT, "default"),
        (settings(), facts(import_methods=BOTH), Way.PUT, "default"),
        (settings(), facts(version=1), Way.V1, "version-1"),
        (settings(tasks=True), facts(has_object_store=True), Way.TASKS, "use-tasks"),
        # said
        (settings("put"), facts(), Way.PUT, "configured"),
        (settings("put", tasks=True), facts(has_object_store=True), Way.PUT, "configured"),
        (settings("import"), facts(import_methods=BOTH), Way.IMPORT, "configured"),
        (settings("web-download"), facts(import_methods=BOTH, has_url=True), Way.WEB_DOWNLOAD, "configured"),
        (settings("tasks"), facts(has_object_store=True), Way.TASKS, "configured"),
        (settings("v1"), facts(version=1), Way.V1, "version-1"),
        # said, but not possible
        (settings("import"), facts(), Way.PUT, "import-not-offered"),
        (settings("web-download"), facts(import_methods=BOTH), Way.IMPORT, "no-url"),
        (
            settings("web-download"),
            facts(import_methods=frozenset({"glance-direct"}), has_url=True),
            Way.IMPORT,
            "web-download-not-offered",
        ),
        # found out
        (settings(), facts(import_methods=BOTH, refused=frozenset({Way.PUT})), Way.IMPORT, "put-refused"),
        (
            settings("import"),
            facts(import_methods=BOTH, refused=frozenset({Way.IMPORT})),
            Way.PUT,
            "import-refused",
        ),
        # no way
        (settings(), facts(refused=frozenset({Way.PUT})), None, "put-refused, import-not-offered"),
        (
            settings(),
            facts(import_methods=BOTH, refused=frozenset({Way.PUT, Way.IMPORT})),
            None,
            "put-refused, import-refused",
        ),
        (settings("tasks"), facts(), None, "tasks need an object store"),
        (settings("v1"), facts(), None, "image_api_version: '1'"),
        (settings("tasks"), facts(version=1), None, "only version 1"),
        (settings("import"), facts(version=1), None, "only version 1"),
        (settings(tasks=True), facts(version=1), None, "only version 1"),
    ],
)
def test_the_way_and_why(wanted, known, way, reason):
    method = upload_method(wanted, known)
    assert method.way is way
    assert reason in method.reason


@pytest.mark.parametrize(
    ("wanted", "known", "asks"),
    [
        (settings(), facts(), False),
        (settings(), facts(refused=frozenset({Way.PUT})), True),
        (settings("put"), facts(), False),
        (settings("import"), facts(), True),
        (settings("web-download"), facts(), True),
        (settings("tasks"), facts(), False),
        (settings("import"), facts(version=1), False),
    ],
)
def test_what_imports_there_are_is_asked_only_where_it_matters(wanted, known, asks):
    assert may_import(wanted, known) is asks

"""How images go up over HTTP: each way in, each refusal, and a crash at every point. See test_images for the rest."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from poolmgr.cloud.openstack.upload_attempt import UploadPolicy
from poolmgr.config.settings import CloudService
from poolmgr.errors import (
    CloudError,
    CloudUnavailable,
    NotSupported,
    OverQuota,
    Rejected,
)
from poolmgr.model.cloud_image import UploadPhase
from poolmgr.simcloud.content import Digest
from tests.contract.clouds import Stage, clouds
from tests.contract.uploads import (
    CONTENT,
    OWNER,
    TIMEOUTS,
    assert_nothing,
    assert_whole,
    file_spec,
    objects_left,
    own_images,
    using,
)

PUT = {
    "nat": "image.PUT.image_file",
    "v1only": "image.PUT.image",
    "import": "image.PUT.image_stage",
    "tasks": "object-store.PUT.object",
}
#: Too small for the file, so that it needs seven segments.
SMALL_STORE = {"max_file_size": 110_000}


@pytest.fixture
def staged() -> Iterator[Callable[..., Stage]]:
    with ExitStack() as stack:
        yield lambda shape, **more: stack.enter_context(using(shape, more))


def calls(stage: Stage, operation: str) -> int:
    return stage.far.calls[operation]


# -- bytes that were cut off --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", sorted(PUT))
@pytest.mark.parametrize("after_bytes", [0, 300_000, None])
def test_a_body_that_was_refused_is_sent_anew_and_whole(staged, shape, after_bytes, tmp_path):
    """The mistake of others: sent again from where it ended, it makes an active image of nothing."""
    stage, spec = staged(shape), file_spec(tmp_path)
    for kind, more in (
        ("http-503", {}),
        ("http-500", {}),
        ("refuse", {"status": 401}),
        ("throttle", {}),
        ("drop", {}),
        ("garbage", {}),
    ):
        stage.strike(kind, operations=[PUT[shape]], times=1, after_bytes=after_bytes, **more)
        stage.cloud.upload_image(spec)
        assert stage.far.faults.struck()[kind] == 1
        assert_whole(stage, spec)
        stage.calm()
        for image in own_images(stage):
            stage.cloud.delete_image(image.id)


@pytest.mark.parametrize("shape", sorted(PUT))
def test_a_token_that_ends_meanwhile_is_replaced_for_the_next_try(staged, shape, tmp_path):
    stage, spec = staged(shape), file_spec(tmp_path)
    stage.strike("expired-token", operations=[PUT[shape]], times=1)
    stage.cloud.upload_image(spec)
    assert_whole(stage, spec)
    assert calls(stage, "identity.POST.tokens") == 2


@pytest.mark.parametrize(("left", "logins"), [(3000.0, 1), (500.0, 2)])
def test_a_token_that_would_not_last_is_replaced_before(staged, left, logins, tmp_path):
    stage = staged("nat")
    stage.cloud.connect()
    stage.clock.advance(3600.0 - left)
    stage.cloud.upload_image(file_spec(tmp_path))
    assert calls(stage, "identity.POST.tokens") == logins


@pytest.mark.parametrize("shape", sorted(PUT))
def test_every_body_says_how_long_it_is(staged, shape, tmp_path):
    stage, spec = staged(shape), file_spec(tmp_path)
    stage.strike("no-chunked")
    stage.cloud.upload_image(spec)
    assert_whole(stage, spec)
    assert stage.far.faults.struck()["no-chunked"] >= calls(stage, PUT[shape]) > 0  # drawn, and of no effect


@pytest.mark.parametrize("shape", sorted(PUT))
def test_a_cloud_that_swallows_bytes_and_says_nothing_is_given_up(shape, tmp_path):
    with using(shape, upload_policy=UploadPolicy(stall=0.3)) as stage:
        stage.strike("hang", operations=[PUT[shape]])
        with pytest.raises(CloudUnavailable, match="no answer"):
            stage.cloud.upload_image(file_spec(tmp_path))
        assert calls(stage, PUT[shape]) == 3
        stage.calm()
        assert_nothing(stage)


@pytest.mark.parametrize("shape", sorted(PUT))
@pytest.mark.parametrize("after_bytes", [300_000, None])
def test_a_cancel_ends_an_upload_that_hangs(staged, shape, after_bytes, tmp_path):
    """Nothing else would for five minutes."""
    stage, cancelled = staged(shape), threading.Event()
    stage.strike("hang", operations=[PUT[shape]], after_bytes=after_bytes)

    def progress(step):
        if step.sent:
            cancelled.set()

    with pytest.raises(CloudUnavailable, match="cancelled"):
        stage.cloud.upload_image(file_spec(tmp_path), progress=progress, cancelled=cancelled)
    assert_nothing(stage)


def test_calls_get_through_while_a_body_is_on_its_way(tmp_path):
    """Though the operator allows one call to the image service at a time."""
    listed = []
    with using("nat", settings={"services": {"image": CloudService(concurrency=1)}}) as stage:
        stage.strike("slow", operations=[PUT["nat"]], seconds=0.5)

        def progress(step):
            if step.sent and step.phase is UploadPhase.SENDING:
                listed.append(stage.cloud.list_images())

        stage.cloud.upload_image(file_spec(tmp_path), progress=progress)
    assert listed


def test_bodies_are_counted_like_all_calls(staged, tmp_path):
    stage = staged("nat")
    stage.cloud.upload_image(file_spec(tmp_path))
    assert stage.cloud.calls[PUT["nat"]] == 1
    counted = {k: n for k, n in stage.cloud.calls.items() if k.startswith("image.") and "discovery" not in k}
    assert counted == {
        "image.GET.images": 1,
        "image.POST.images": 1,
        "image.PUT.image_file": 1,
        "image.GET.image": 1,
    }


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "leaf", "reason"),
    [
        (
            413,
            "Image exceeds the storage quota: The size of the data will exceed the limit.",
            OverQuota,
            "image-quota",
        ),
        (
            413,
            "The incoming image is too large: The provided image is too large.",
            Rejected,
            "image-too-large",
        ),
        (403, "Quota exceeded for image storage", OverQuota, ""),
        (415, "Unsupported Media Type", Rejected, ""),
        (400, "Invalid data", Rejected, ""),
    ],
)
def test_a_refusal_that_stays_is_told_at_once(staged, status, message, leaf, reason, tmp_path):
    stage = staged("nat")
    stage.strike("refuse", operations=[PUT["nat"]], status=status, message=message)
    with pytest.raises(leaf, match=f"cloud north: image: PUT .*{status}.*{message[:20]}") as refused:
        stage.cloud.upload_image(file_spec(tmp_path))
    assert refused.value.reason == reason
    assert calls(stage, PUT["nat"]) == 1
    assert_nothing(stage)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (409, "Image status transition from saving to saving is not allowed"),
        (413, "Image storage media is full: There is not enough disk space on the image storage media."),
        (
            503,
            "Insufficient permissions on image storage media: Permission to write image storage media denied.",
        ),
    ],
)
def test_a_refusal_that_may_pass_is_tried_three_times(staged, status, message, tmp_path):
    stage = staged("nat")
    stage.strike("refuse", operations=[PUT["nat"]], status=status, message=message)
    with pytest.raises(CloudUnavailable, match=message[:30]):
        stage.cloud.upload_image(file_spec(tmp_path))
    assert calls(stage, PUT["nat"]) == 3
    assert_nothing(stage)


def test_a_cloud_that_says_when_to_come_back_is_heard(staged, tmp_path):
    stage, spec = staged("nat"), file_spec(tmp_path)
    stage.strike("http-503", operations=[PUT["nat"]], times=1, retry_after=120.0)
    before = stage.clock.monotonic()
    stage.cloud.upload_image(spec)
    assert stage.clock.monotonic() - before >= 120.0
    assert_whole(stage, spec)


@pytest.mark.parametrize(
    ("shape", "operation"), [("nat", "image.POST.images"), ("tasks", "image.POST.tasks")]
)
def test_who_may_not_make_images_may_still_use_the_cloud(staged, shape, operation, tmp_path):
    """So it is Rejected: AuthFailed would stop the provider."""
    stage = staged(shape)
    stage.strike("refuse", operations=[operation], status=403, message="You are not authorized to do that")
    with pytest.raises(Rejected, match="set image_upload_method"):
        stage.cloud.upload_image(file_spec(tmp_path))
    assert_nothing(stage)


def test_an_image_that_is_deleted_underneath_is_made_anew(staged, tmp_path):
    stage, spec, gone = staged("nat"), file_spec(tmp_path), []

    def progress(step):
        if step.image_id and not gone:
            gone.append(step.image_id)
            stage.cloud.delete_image(step.image_id)

    stage.cloud.upload_image(spec, progress=progress)
    assert assert_whole(stage, spec).id != gone[0]


def test_what_cannot_even_be_deleted_is_named(staged, tmp_path):
    stage = staged("nat")
    stage.strike("http-500", operations=[PUT["nat"], "image.DELETE.image"])
    with pytest.raises(
        CloudUnavailable, match=r"PUT .*; image \S+ is left, it could not be deleted"
    ) as failed:
        stage.cloud.upload_image(file_spec(tmp_path))
    assert own_images(stage)[-1].id in str(failed.value)
    assert calls(stage, PUT["nat"]) == 1  # it would only leave more


def test_an_upload_whose_success_was_not_told_is_one(staged, tmp_path):
    """As of a proxy that had no patience: the cloud still writes, and then has it."""
    stage, spec = staged("nat"), file_spec(tmp_path)
    stage.strike("lost-answer", operations=[PUT["nat"]])
    stage.strike("slow-image", seconds=90.0)
    stage.cloud.upload_image(spec)
    assert calls(stage, PUT["nat"]) == 1
    assert_whole(stage, spec)


# -- a cloud that changes images -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["nat", "import", "tasks"])
def test_an_image_that_became_another_is_refused_unless_that_is_allowed(shape, tmp_path):
    spec = file_spec(tmp_path)
    with using(shape) as stage:
        stage.strike("converted-image")
        with pytest.raises(Rejected, match="image_content_may_change") as refused:
            stage.cloud.upload_image(spec)
        assert refused.value.reason == "image-changed"
        assert_nothing(stage)
    with using(shape, settings={"image_content_may_change": True, **_tasks(shape)}) as stage:
        stage.strike("converted-image")
        image = stage.cloud.upload_image(spec)
        assert image.md5 != spec.md5
        assert stage.cloud.upload_image(spec).id == image.id
        assert len(own_images(stage)) == 1


def _tasks(shape: str) -> dict[str, object]:
    return {"image_api_use_tasks": True} if shape == "tasks" else {}


def test_hashes_nobody_knew_are_written_on_the_image(staged, tmp_path):
    stage, known = staged("nat"), file_spec(tmp_path)
    image = stage.cloud.upload_image(replace(known, md5="", sha256=""))
    shown = stage.cloud.get_image(image.id).properties
    assert shown["owner_specified.poolmgr.md5"] == known.md5
    assert shown["owner_specified.poolmgr.sha256"] == known.sha256
    assert image.properties == shown


# -- which way -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [403, 404, 405])
def test_where_put_is_refused_images_are_imported_and_put_is_not_tried_again(refusal, tmp_path):
    api = {"methods": ["glance-direct"], "refusal": refusal}
    with using("nat", {"image_api": api}) as stage:
        for number in (1, 2):
            owner = replace(OWNER, upload=str(number))
            stage.cloud.upload_image(file_spec(tmp_path, name=f"i-{number}", owner=owner))
        assert [image.status for image in own_images(stage)] == ["active", "active"]
        assert calls(stage, PUT["nat"]) == 1
        assert calls(stage, PUT["import"]) == 2


def test_where_put_is_refused_and_nothing_is_offered_there_is_no_way(tmp_path):
    spec = file_spec(tmp_path)
    with using("nat", {"image_api": {"methods": ["glance-direct", "task"]}}) as stage:
        stage.strike("refuse", operations=["image.GET.info_import"], status=404)
        with pytest.raises(NotSupported, match=r"put: .*403.*set image_upload_method") as none:
            stage.cloud.upload_image(spec)
        assert none.value.reason == "upload-refused"
        assert_nothing(stage)


def test_an_import_that_gets_stuck_is_not_tried_again(tmp_path):
    with using("nat", settings={"image_upload_method": "import"}) as stage:
        stage.strike("stuck-import")
        before = stage.clock.monotonic()
        for number in (1, 2):
            owner = replace(OWNER, upload=str(number))
            stage.cloud.upload_image(file_spec(tmp_path, name=f"i-{number}", owner=owner))
        assert 3600.0 <= stage.clock.monotonic() - before < 7200.0
        assert [image.status for image in own_images(stage)] == ["active", "active"]
        assert calls(stage, PUT["import"]) == 1
        assert calls(stage, PUT["nat"]) == 2


def test_an_import_that_fails_is_told_in_the_clouds_words(tmp_path):
    with using("nat", settings={"image_upload_method": "import"}) as stage:
        stage.strike("failed-import", message="Input image virtual size is too big")
        with pytest.raises(CloudUnavailable, match="virtual size is too big") as failed:
            stage.cloud.upload_image(file_spec(tmp_path))
        assert failed.value.reason == "import-failed"
        assert_nothing(stage)


def test_the_cloud_fetches_the_file_itself(tmp_path):
    spec = file_spec(tmp_path)
    with _served(tmp_path) as url, using("nat", settings={"image_upload_method": "web-download"}) as stage:
        # What it fetches takes real time; its clock stands still as long as nobody waits for it.
        progress = _real_pauses(stage)
        image = stage.cloud.upload_image(replace(spec, url=f"{url}/disk.img"), progress=progress)
        assert assert_whole(stage, spec).id == image.id
        assert calls(stage, PUT["nat"]) == calls(stage, PUT["import"]) == 0
        other = replace(spec, owner=replace(OWNER, upload="2"), url=f"{url}/nothing.img")
        with pytest.raises(CloudUnavailable, match="404"):
            stage.cloud.upload_image(other, progress=progress)
        assert len(own_images(stage)) == 1


def _real_pauses(stage: Stage) -> Callable[[object], None]:
    done = threading.Event()
    return lambda _: done.wait(0.02) and None


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    """The files of a directory over HTTP."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **more) -> None:
            super().__init__(*args, directory=str(directory), **more)

        def log_message(self, *args) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("forced", [None, "1"])
def test_where_there_are_both_versions_the_operator_may_choose(forced, tmp_path):
    image = CloudService(api_version=forced)
    with using(
        "nat", {"image_api": {"versions": ["v1", "v2"]}}, settings={"services": {"image": image}}
    ) as stage:
        spec = file_spec(tmp_path)
        stage.cloud.upload_image(spec)
        assert_whole(stage, spec)
        assert bool(calls(stage, PUT["v1only"])) is (forced == "1")


@pytest.mark.parametrize("status", [404, 405])
def test_a_version_2_that_is_only_listed_gives_way_to_version_1(status, tmp_path):
    with using("nat", {"image_api": {"versions": ["v1", "v2"]}}) as stage:
        stage.strike("refuse", operations=["image.POST.images"], status=status, times=1, message="none")
        spec = file_spec(tmp_path)
        stage.cloud.upload_image(spec)
        assert_whole(stage, spec)
        assert calls(stage, PUT["v1only"]) == 1


@pytest.mark.parametrize("shape", ["nat", "v1only"])
def test_all_images_are_listed_however_many_there_are(staged, shape, tmp_path):
    stage = staged(shape)
    image = stage.cloud.upload_image(file_spec(tmp_path))
    with stage.far.lock:
        first = stage.far.images.images[image.id]
        for number in range(60):
            other = replace(first, id=f"{number:08d}-0000-4000-8000-000000000000", name=f"i-{number}")
            stage.far.images.images[other.id] = other
    listing = stage.cloud.list_images()
    assert listing.complete
    assert len(listing.items) == 61


# -- tasks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [0, 1, 2, 3])
def test_a_task_that_fails_with_396_is_posted_up_to_three_times(staged, failures, tmp_path):
    stage, spec = staged("tasks"), file_spec(tmp_path)
    stage.strike("failed-task", times=failures)
    if failures < 3:
        stage.cloud.upload_image(spec)
        assert_whole(stage, spec)
    else:
        with pytest.raises(Rejected, match="Error code: '396'") as failed:
            stage.cloud.upload_image(spec)
        assert failed.value.reason == "task-failed"
        assert_nothing(stage)
    assert calls(stage, "image.POST.tasks") == min(failures + 1, 3)
    assert calls(stage, PUT["tasks"]) == 1


def test_a_task_that_fails_otherwise_is_not_posted_again(staged, tmp_path):
    stage = staged("tasks")
    stage.strike("failed-task", message="The image is no VHD")
    with pytest.raises(Rejected, match="The image is no VHD"):
        stage.cloud.upload_image(file_spec(tmp_path))
    assert calls(stage, "image.POST.tasks") == 1
    assert_nothing(stage)


def test_a_task_that_cannot_be_asked_for_a_while_and_shows_its_image_late(staged, tmp_path):
    stage, spec = staged("tasks", image_api={"task_seconds": 100.0}), file_spec(tmp_path)
    stage.strike("http-503", operations=["image.GET.task"], times=12)
    stage.strike("late-image", seconds=60.0)
    image = stage.cloud.upload_image(spec)
    assert assert_whole(stage, spec).id == image.id


@pytest.mark.parametrize("slo", [True, False])
def test_a_large_file_goes_in_segments_that_do_not_stay(staged, slo, tmp_path):
    stage, spec, most = staged("tasks", object_store={**SMALL_STORE, "slo": slo}), file_spec(tmp_path), []

    def progress(step):
        if step.phase is UploadPhase.IMPORTING:
            most.append(objects_left(stage))

    stage.cloud.upload_image(spec, progress=progress)
    assert_whole(stage, spec)
    name = most[0][0].removeprefix("images/")
    assert name.startswith("poolmgr-debian-0000000001-")
    segments = [f"images_segments/{name}/{OWNER.upload}/{number:08d}" for number in range(1, 8)]
    assert most[0] == [f"images/{name}", *segments]


@pytest.mark.parametrize("slo", [True, False])
@pytest.mark.parametrize("kind", ["http-503", "drop", "lost-answer", "expired-token"])
def test_a_segment_that_fails_is_sent_again_alone(staged, slo, kind, tmp_path):
    stage, spec = staged("tasks", object_store={**SMALL_STORE, "slo": slo}), file_spec(tmp_path)
    stage.strike(kind, operations=[PUT["tasks"]], skip=2, times=1, after_bytes=None)
    stage.cloud.upload_image(spec)
    assert_whole(stage, spec)
    assert calls(stage, PUT["tasks"]) <= 7 + 1 + 3  # segments, manifest; who has the old token is refused too


@pytest.mark.parametrize("slo", [True, False])
def test_a_segment_that_never_arrives_ends_it_all(staged, slo, tmp_path):
    stage = staged("tasks", object_store={**SMALL_STORE, "slo": slo})
    stage.strike("http-503", operations=[PUT["tasks"]], name="*00000005")
    with pytest.raises(CloudUnavailable):
        stage.cloud.upload_image(file_spec(tmp_path))
    stage.calm()
    assert_nothing(stage)


def test_segments_share_one_pace(staged, tmp_path):
    stage, asked = staged("tasks", object_store=SMALL_STORE), []
    stage.cloud.upload_image(file_spec(tmp_path), pace=asked.append)
    assert sum(asked) >= len(CONTENT)  # more where a connection broke and a segment went out again
    assert len(asked) >= 7


def test_objects_of_others_are_neither_listed_nor_deleted(staged, tmp_path):
    stage, spec = staged("tasks"), file_spec(tmp_path)
    with stage.far.lock:
        stage.far.objects.create_container("images")
        for name in ("theirs", "poolmgr-of-a-person"):
            stage.far.objects.put("images", name, Digest(), headers={})
    stage.cloud.delete_image(stage.cloud.upload_image(spec).id)
    assert stage.cloud.list_staged().items == {}
    assert objects_left(stage) == ["images/poolmgr-of-a-person", "images/theirs"]


def test_everything_staged_would_go_by_itself(staged, tmp_path):
    stage = staged("tasks", object_store=SMALL_STORE)

    def progress(step):
        if step.phase is UploadPhase.IMPORTING:
            stage.strike("http-503", operations=["object-store.DELETE.*"])

    stage.cloud.upload_image(file_spec(tmp_path), progress=progress)
    assert len(objects_left(stage)) == 8
    stage.clock.advance(86_401.0)
    with stage.far.lock:
        stage.far.timeline.settle()
        for container in list(stage.far.objects.containers):
            stage.far.objects.container(container)  # looks at what has expired
    assert objects_left(stage) == []


# -- a crash after every call ------------------------------------------------------------------------------

CRASHES = {
    "put": ("nat", {}, {}),
    "import": ("nat", {}, {"image_upload_method": "import"}),
    "v1": ("v1only", {}, {}),
    "task": ("tasks", {}, {}),
    "static": ("tasks", {"object_store": {"max_file_size": 400_000}}, {}),
    "dynamic": ("tasks", {"object_store": {"max_file_size": 400_000, "slo": False}}, {}),
}


@pytest.mark.parametrize("way", sorted(CRASHES))
def test_after_a_crash_at_any_point_the_next_upload_leaves_one_image_and_no_object(way, tmp_path):
    shape, options, settings = CRASHES[way]
    spec = file_spec(tmp_path)
    with clouds(shape, **options) as (_, login):
        stage = login(settings=settings, timeouts=TIMEOUTS)
        crashed_at = 0
        while True:
            crashed_at += 1
            if not _crashes(login, settings, spec, crashed_at):
                break
            image = stage.cloud.upload_image(spec)
            stage.clock.advance(600.0)
            assert assert_whole(stage, spec).id == image.id, f"crash after call {crashed_at}"
            stage.cloud.delete_image(image.id)
            assert_nothing(stage)
    assert crashed_at >= 5


def _crashes(login, settings, spec, last: int) -> bool:
    """Upload, and be dead after so many calls but for the login; whether that was before the end."""
    made = []
    ended = threading.Event()

    def on_call(call):
        if call.service == "identity":
            return
        made.append(call)
        if len(made) >= last:
            ended.set()
            dying.cloud.close()  # nothing is sent any more, clearing up neither

    dying = login(settings=settings, timeouts=TIMEOUTS, on_call=on_call)
    try:
        dying.cloud.upload_image(spec)
    except CloudError:
        assert ended.is_set()
        return True
    return ended.is_set()


def test_content_is_what_the_tests_think():
    assert len(CONTENT) > 6 * SMALL_STORE["max_file_size"]

"""The gauges of one builder."""

from __future__ import annotations

import pytest

from poolmgr.builder.context import Activity, Identity, Parts
from poolmgr.builder.reporter import Reporter, pending_orders, upload_workers
from poolmgr.config.settings import DiskImage, OpenStackProvider, ProviderImage, Settings, StaticProvider
from poolmgr.model.image import Build, BuildState, ImageOrder, Order, Upload, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.observe.stats import NullStats
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.store.memory import MemoryStore, MemoryTree
from tests.fakes import FakeClock

IMAGES = {name: DiskImage(name=name, pause=name == "off") for name in ("noble", "jammy", "off")}
NORTH = OpenStackProvider(
    name="north",
    cloud="one",
    max_parallel_uploads=2,
    diskimages={"noble": ProviderImage(name="noble"), "jammy": ProviderImage(name="jammy", pause=True)},
)
SETTINGS = Settings(diskimages=IMAGES, providers={"north": NORTH, "static": StaticProvider(name="static")})


class Recorded(NullStats):
    def __init__(self):
        self.said = {}

    def builder_states(self, builder, builds, uploads):
        self.said["states"] = (builder, dict(builds), dict(uploads))

    def builder_work(self, builder, **work):
        self.said["work"] = (builder, work)

    def image_requests(self, pending):
        self.said["requests"] = dict(pending)

    def image_ages(self, ages):
        self.said["ages"] = dict(ages)


@pytest.fixture
def parts(tmp_path):
    store = MemoryStore(MemoryTree())
    store.start()
    yield Parts(
        store=store,
        stats=Recorded(),
        clock=FakeClock(),
        tuning=ImageTuning(),
        identity=Identity(id="b", hostname="h", fqdn="h.example.org", deployment="d"),
        new_id=lambda: "0" * 32,
        settings=lambda: SETTINGS,
        providers=dict,
        stray_provider=lambda cloud, region: None,
        activity=Activity(),
    )
    store.close()


def test_it_tells_what_is_done_what_waits_and_how_old_images_are(parts):
    store, now = parts.store, parts.clock.time()
    build = store.create_build(
        Build(id="1" * 32, image="noble", state=BuildState.READY), store.lock_builds("noble")
    )
    lock = store.lock_uploads("noble", build.id, "north")
    ready = Upload(
        image="noble",
        build=build.id,
        provider="north",
        state=UploadState.READY,
        state_time=now - 90,
        external_id="x",
    )
    store.create_upload(ready, lock)
    running = store.create_upload(Upload(image="noble", build=build.id, provider="north"), lock)
    store.order_image(ImageOrder(image="jammy", kind=Order.BUILD))
    store.order_image(ImageOrder(image="jammy", kind=Order.PAUSE))
    parts.activity.begin_build("noble", "2" * 32, now)
    parts.activity.begin_upload(running.path, now)
    assert Reporter(parts, build_workers=3).cycle() == 60.0
    assert parts.stats.said == {
        "work": ("h.example.org", {"builds": 1, "uploads": 1, "build_workers": 3, "upload_workers": 2}),
        "states": (
            "h.example.org",
            {"noble": 1, "jammy": 3, "off": 3},
            {("noble", "north"): 2, ("jammy", "north"): 3},
        ),
        "requests": {"noble": False, "jammy": True, "off": False},
        "ages": {("noble", "north"): 90.0},
    }


def test_without_the_store_it_tells_only_what_it_does_itself(parts):
    parts.store.close()
    Reporter(parts, build_workers=1).cycle()
    assert list(parts.stats.said) == ["work"]


@pytest.mark.parametrize(
    ("started", "state", "pending"),
    [
        (None, None, True),
        (90.0, BuildState.BUILDING, True),  # begun before it was ordered
        (110.0, BuildState.BUILDING, False),
        (110.0, BuildState.FAILED, True),
    ],
)
def test_an_order_waits_until_a_build_begins_after_it(started, state, pending):
    snapshot = Snapshot()
    snapshot.put_order(ImageOrder(image="noble", kind=Order.BUILD, at=100.0))
    if state is not None:
        snapshot.put_build(Build(id="1", image="noble", state=state, state_time=120.0, started=started))
    assert pending_orders(snapshot, Settings()) == {"noble": pending}


@pytest.mark.parametrize(("limit", "workers"), [(0, 5), (2, 2), (9, 5)])
def test_uploads_at_once_are_those_of_all_providers_or_the_limit(limit, workers):
    providers = {name: OpenStackProvider(name=name, cloud="c", max_parallel_uploads=n)
                 for name, n in (("a", 2), ("b", 3))}  # fmt: skip
    assert upload_workers(Settings(providers=providers, max_parallel_uploads=limit)) == workers

"""Which files in the images directory go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poolmgr.model.image import BuildState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_files import Fate, FileFate, Marker, adoptable, file_fates
from tests.unit.policy.image_worlds import ME, NOW, SHE, build, build_id, snapshot_of

GRACE = 86400.0
MARKER = Marker(image="img", build=build_id(1), deployment="dep", builder_id=ME)


def fate(snapshot: Snapshot, marker: Marker = MARKER, *, busy=(), now=NOW) -> FileFate:
    (answer,) = file_fates(
        [marker], snapshot, deployment="dep", builder_id=ME, busy=busy, grace=GRACE, now=now
    )
    assert answer.marker is marker
    return answer


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (BuildState.BUILDING, Fate.KEEP),
        (BuildState.READY, Fate.KEEP),
        (BuildState.FAILED, Fate.DELETE),
        (BuildState.DELETING, Fate.DELETE),
    ],
)
def test_a_build_s_record_says_what_becomes_of_its_files(state, expected):
    snapshot = snapshot_of(build(1, state))
    assert fate(snapshot).fate is expected
    assert fate(snapshot, busy=[("img", build_id(1))]).fate is Fate.KEEP


def test_files_without_a_record_are_kept_for_the_grace():
    """An emptied ZooKeeper, or a wrong one, must not cost a file."""
    assert fate(Snapshot()) == FileFate(marker=MARKER, fate=Fate.ORPHAN, until=NOW + GRACE)
    noted = replace(MARKER, orphan_since=NOW - GRACE + 1)
    assert fate(Snapshot(), noted) == FileFate(marker=noted, fate=Fate.ORPHAN, until=NOW + 1)
    assert fate(Snapshot(), noted, now=NOW + 1).fate is Fate.DELETE
    assert fate(Snapshot(), noted, now=NOW + 1, busy=[("img", build_id(1))]).fate is Fate.KEEP
    assert fate(snapshot_of(build(1)), noted).fate is Fate.FOUND


def test_a_record_that_makes_no_sense_may_be_theirs():
    snapshot = Snapshot()
    snapshot.put_unreadable_image("img", "somewhere")
    assert fate(snapshot, replace(MARKER, orphan_since=0.0)).fate is Fate.KEEP


@pytest.mark.parametrize("change", [{"deployment": "elsewhere"}, {"builder_id": SHE}])
@pytest.mark.parametrize("snapshot", [Snapshot(), snapshot_of(build(1, BuildState.DELETING))])
def test_what_belongs_to_others_is_not_touched(change, snapshot):
    assert fate(snapshot, replace(MARKER, orphan_since=0.0, **change)).fate is Fate.FOREIGN


def test_what_nodepool_built_here_is_taken_over():
    found = {("img", build_id(n)): ("raw",) for n in range(1, 8)} | {("backup", "2024010112"): ("tar",)}
    snapshot = snapshot_of(
        build(1),
        build(2, builder_id=SHE),
        build(3, BuildState.BUILDING),
        build(4, BuildState.FAILED),
        build(5, builder_id=f"{ME}\n"),
        build(6),
        build(7, builder_id=None),
    )
    marked = [replace(MARKER, build=build_id(6))]
    taken = adoptable(found, marked, snapshot, deployment="dep", builder_id=ME)
    assert taken == tuple(("img", build_id(n)) for n in (1, 4, 5))


def test_what_was_built_before_the_store_was_restored_into_a_new_one_is_taken_over():
    found = {("img", build_id(n)): ("raw",) for n in (1, 2, 3)}
    snapshot = snapshot_of(build(1), build(2, builder_id=SHE))  # the third has no record in the new store
    old = [replace(MARKER, build=build_id(n), deployment="before") for n in (1, 3)]
    hers = replace(MARKER, build=build_id(2), deployment="before", builder_id=SHE)
    taken = adoptable(found, [*old, hers], snapshot, deployment="dep", builder_id=ME)
    assert taken == (("img", build_id(1)),)

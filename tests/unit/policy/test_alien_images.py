"""Which alien image a person may have deleted."""

from dataclasses import replace

import pytest

from poolmgr.model.cloud_image import PROP_BUILD, CloudImage, ImageOwner, ImageStatus
from poolmgr.model.image import Build, Upload, UploadState
from poolmgr.model.node import Node
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.alien_images import Keep, nodes_from, why_keep

OURS = ImageOwner(provider="north", image="debian", build="0f", upload="0000000001", deployment="d")
NODEPOOL = replace(OURS, image="", deployment=None)
RECORD = Upload(image="debian", build="0f", provider="north", id="0000000001", state=UploadState.FAILED)


def image_of(owner, **more):
    properties = owner.properties() if owner else {PROP_BUILD: "0f"}
    return CloudImage(id="img", name="n", status=ImageStatus.ACTIVE, properties=properties, **more)


def snapshot_of(*things, unreadable=()):
    snapshot = Snapshot()
    snapshot.put_build(Build(image="debian", id="99"))
    snapshot.put_image("debian")
    for thing in things:
        if isinstance(thing, Upload):
            snapshot.put_upload(thing)
        else:
            snapshot.put_node(thing)
    for name in unreadable:
        snapshot.put_unreadable_image(name, f"/{name}")
    return snapshot


@pytest.mark.parametrize(
    ("image", "snapshot", "keep"),
    [
        (image_of(OURS), snapshot_of(), None),
        (image_of(NODEPOOL), snapshot_of(), None),
        (image_of(replace(OURS, provider="old name")), snapshot_of(), None),  # ours, by the deployment
        (image_of(None), snapshot_of(), Keep.NO_OWNER),
        (image_of(replace(OURS, deployment="e")), snapshot_of(), Keep.OTHER_DEPLOYMENT),
        (image_of(replace(NODEPOOL, provider="south")), snapshot_of(), Keep.OTHER_PROVIDER),
        (image_of(NODEPOOL), Snapshot(), Keep.NOTHING_KNOWN),
        (image_of(OURS), Snapshot(), None),
        (image_of(OURS), snapshot_of(unreadable=["debian"]), Keep.UNREADABLE),
        (image_of(OURS), snapshot_of(unreadable=["fedora"]), None),
        (image_of(NODEPOOL), snapshot_of(unreadable=["debian"]), Keep.UNREADABLE),  # it may be of any
        (image_of(OURS, protected=True), snapshot_of(), Keep.PROTECTED),
        # records
        (image_of(OURS), snapshot_of(replace(RECORD, external_id="img")), Keep.RECORDED),
        (image_of(OURS), snapshot_of(replace(RECORD, provider="south", external_id="img")), Keep.RECORDED),
        (image_of(NODEPOOL), snapshot_of(RECORD), Keep.RECORDED),  # nodepool-builder writes the id at the end
        (image_of(OURS), snapshot_of(replace(RECORD, external_id="other")), None),
        (
            image_of(OURS),
            snapshot_of(replace(RECORD, state=UploadState.UPLOADING, external_id="before")),
            Keep.RECORDED,
        ),
        (image_of(OURS), snapshot_of(replace(RECORD, id="0000000002")), None),
        # nodes
        (image_of(OURS), snapshot_of(Node(id="1", image_id=RECORD.path)), Keep.IN_USE),
        (image_of(NODEPOOL), snapshot_of(Node(id="1", image_id=RECORD.path)), Keep.IN_USE),
        (image_of(OURS), snapshot_of(Node(id="1", image_id=replace(RECORD, id="2").path)), None),
    ],
)
def test_what_stays_and_why(image, snapshot, keep):
    assert why_keep(image, "north", snapshot, "d") is keep


def test_nodes_are_counted_where_the_image_says_whose_it_is():
    nodes = [Node(id=str(number), image_id=RECORD.path) for number in range(3)]
    assert nodes_from(image_of(OURS), snapshot_of(*nodes)) == 3
    assert nodes_from(image_of(NODEPOOL), snapshot_of(*nodes)) == 3
    assert nodes_from(image_of(None), snapshot_of(*nodes)) == 0

"""What the lists show."""

from poolmgr.model.image import BuildState, ImageOrder, Order, UploadState


def titles(text):
    return [title.strip() for title in text.splitlines()[1].strip("|").split("|")]


def test_builds_and_uploads_as_tables_and_json(place):
    place.add_build(formats="qcow2", builder="b1")
    place.add_upload()
    table = place.run("dib-image-list").out
    assert titles(table) == ["ID", "Image", "Builder", "Formats", "State", "Age"]
    assert "| debian-0f | debian | b1      | qcow2   | ready | " in table
    assert "Reason" in titles(place.run("dib-image-list", "--detail").out)
    assert place.rows("dib-image-list")[0]["age"] == 100
    table = place.run("image-list").out
    assert titles(table)[:3] == ["Build ID", "Upload ID", "Provider"]
    assert "| ready | " in table
    assert "Nodes" in titles(place.run("image-list", "--detail").out)
    assert place.rows("image-list")[0]["external_id"] == "img"


def test_how_long_failures_wait_is_as_configured(place):
    with place.config.open("a") as config:
        config.write("image-retry-max: 7\n")
    place.add_build(state=BuildState.FAILED, failures=9, reason="rc 1")
    place.add_upload(state=UploadState.FAILED, failures=9)
    assert place.rows("dib-image-list")[0]["next_attempt"] == 107
    assert place.rows("image-list")[0]["next_attempt"] == 207


def test_pauses_and_requests(place):
    place.store.order_image(ImageOrder(image="debian", kind=Order.PAUSE, by="ana@b1", reason="mirror"))
    place.store.order_image(ImageOrder(image="fedora", kind=Order.BUILD, by="bob@b2", reason="CVE"))
    table = place.run("image-status").out
    assert titles(table) == ["Image", "Paused", "Build Request", "Build Request Age"]
    assert "| debian | True   |               |" in table
    assert "Pause Reason" in titles(place.run("image-status", "--detail").out)
    assert [row["paused_by"] for row in place.rows("image-status")] == ["ana@b1", None]
    assert "| fedora | pending |" in place.run("dib-request-list").out
    assert place.rows("dib-request-list")[0]["requested_by"] == "bob@b2"


def test_empty_lists_are_headers(place):
    for command in ("dib-image-list", "image-list", "image-status", "dib-request-list"):
        assert len(place.run(command).out.splitlines()) == 4
        assert place.rows(command) == []

from __future__ import annotations

from dataclasses import replace

import pytest

from poolmgr.builder.trials import trial_of
from poolmgr.config.settings import (
    BootImage,
    DiskImage,
    ImageBuild,
    OpenStackProvider,
    Pool,
    PoolLabel,
    ProviderImage,
    Validation,
)
from poolmgr.errors import ConfigError
from poolmgr.model.cloud_image import ImageOwner

OWNER = ImageOwner(provider="north", image="debian", build="b", upload="1", deployment="d")
LABELS = {
    name: PoolLabel(name=name, image=BootImage(name="debian", is_disk_image=True))
    for name in ("small", "large")
}
PROVIDER = OpenStackProvider(
    name="north",
    cloud="c",
    diskimages={"debian": ProviderImage(name="debian", connection_port=2222)},
    pools={
        "main": Pool(name="main", labels={"large": LABELS["large"]}),
        "other": Pool(name="other", labels={"small": LABELS["small"]}),
    },
)


def image(validation: Validation | None, username: str | None = "debian") -> DiskImage:
    return DiskImage(name="debian", username=username, build=ImageBuild(validate=validation))


def test_most_images_are_not_tried():
    assert trial_of(image(None), PROVIDER, "id-1", OWNER) is None


def test_the_label_may_be_in_any_pool():
    wanted = Validation(label="small", command="true", timeout=30.0, private_key="/key")
    trial = trial_of(image(wanted), PROVIDER, "id-1", OWNER)
    assert trial is not None
    assert (trial.image_id, trial.owner, trial.label, trial.pool) == (
        "id-1", OWNER, LABELS["small"], PROVIDER.pools["other"],
    )  # fmt: skip
    assert (trial.command, trial.script, trial.timeout, trial.private_key) == ("true", None, 30.0, "/key")
    assert (trial.username, trial.port) == ("debian", 2222)


@pytest.mark.parametrize(
    ("own", "of_image", "username"),
    [("root", "debian", "root"), (None, "debian", "debian"), (None, None, "zuul")],
)
def test_who_logs_in(own, of_image, username):
    wanted = Validation(label="small", command="true", username=own)
    trial = trial_of(image(wanted, of_image), PROVIDER, "id-1", OWNER)
    assert trial is not None
    assert trial.username == username


def test_a_script_is_read(tmp_path):
    script = tmp_path / "script"
    script.write_text("set -e\n")
    trial = trial_of(image(Validation(label="small", script=str(script))), PROVIDER, "id-1", OWNER)
    assert trial is not None
    assert trial.script == "set -e\n"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Validation(label="huge", command="true"), "no pool of provider north has a label huge"),
        (Validation(label="small", script="/no/such"), "/no/such cannot be read"),
    ],
)
def test_what_the_operator_has_to_mend(wanted, words):
    with pytest.raises(ConfigError, match=words):
        trial_of(image(wanted), replace(PROVIDER), "id-1", OWNER)

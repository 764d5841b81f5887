"""What a fresh upload is tried with: `validate` of its image, on a label of the provider."""

from __future__ import annotations

from pathlib import Path

from poolmgr.cloud.api import Trial
from poolmgr.config.settings import DiskImage, OpenStackProvider, Pool, PoolLabel
from poolmgr.errors import ConfigError
from poolmgr.model.cloud_image import ImageOwner

#: Where neither `validate` nor the image names one: what records without a user name mean.
USERNAME = "zuul"


def trial_of(image: DiskImage, provider: OpenStackProvider, image_id: str, owner: ImageOwner) -> Trial | None:
    """The trial of an upload, None where there is to be none.

    Raises ConfigError when the provider has no such label, or the script cannot be read.
    """
    wanted = image.build.validate
    if wanted is None:
        return None
    pool, label = _label(image, provider)
    return Trial(
        image_id=image_id,
        owner=owner,
        label=label,
        pool=pool,
        command=wanted.command,
        script=_script(image.name, wanted.script),
        username=wanted.username or image.username or USERNAME,
        port=provider.diskimages[image.name].connection_port,
        private_key=wanted.private_key,
        timeout=wanted.timeout,
    )


def _label(image: DiskImage, provider: OpenStackProvider) -> tuple[Pool, PoolLabel]:
    name = image.build.validate.label if image.build.validate else ""
    for pool in provider.pools.values():
        if name in pool.labels:
            return pool, pool.labels[name]
    raise ConfigError(
        f"image {image.name}: validate.label: no pool of provider {provider.name} has a label {name}",
        remedy="name one whose flavor and networks a fresh image can be tried with",
    )


def _script(image: str, path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"image {image}: validate.script {path} cannot be read: {error}") from error

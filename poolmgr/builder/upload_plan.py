"""What one upload goes by: build, settings and file as they are when it begins, or is taken up again."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from poolmgr.builder.context import Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.manifest import manifest_properties
from poolmgr.builder.trials import trial_of
from poolmgr.builder.upload_spec import LocalFile, external_name, image_spec, local_file, owner_of
from poolmgr.cloud.api import Trial
from poolmgr.config.settings import DiskImage, OpenStackProvider
from poolmgr.errors import RecordGone
from poolmgr.model.cloud_image import ImageOwner, ImageSpec
from poolmgr.model.image import Build, Upload

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class UploadPlan:
    """`name` is the image's in the cloud; `images_url` as in the settings."""

    build: Build
    image: DiskImage
    provider: OpenStackProvider
    file: LocalFile
    name: str
    owner: ImageOwner
    manifest: dict[str, str]
    images_url: str | None

    def spec(self, upload: Upload) -> ImageSpec:
        return image_spec(
            upload,
            self.file,
            self.image,
            self.provider,
            owner=self.owner,
            manifest=self.manifest,
            images_url=self.images_url,
        )

    def trial(self, image_id: str) -> Trial | None:
        """None where there is to be none. Raises ConfigError when it cannot be made."""
        return trial_of(self.image, self.provider, image_id, self.owner)


def plan_upload(parts: Parts, files: ImageFiles, upload: Upload) -> UploadPlan:
    """Raises ConfigError when it cannot be, RecordGone when it is not wanted any more."""
    settings = parts.settings()
    with parts.store.reading() as snapshot:
        build = snapshot.build(upload.image, upload.build)
    image, provider = settings.diskimages.get(upload.image), settings.providers.get(upload.provider)
    if build is None:
        raise RecordGone(f"build {upload.image}-{upload.build} was deleted")
    if image is None or not isinstance(provider, OpenStackProvider) or image.name not in provider.diskimages:
        raise RecordGone(f"provider {upload.provider} does not list {upload.image} any more")
    return UploadPlan(
        build=build,
        image=image,
        provider=provider,
        file=local_file(files, build, upload.format or ""),
        name=upload.external_name or _name(provider, upload, parts.clock.time()),
        owner=owner_of(upload, parts.identity.deployment),
        manifest=manifest_properties(files.manifest_path(build.image, build.id)),
        images_url=settings.images_url,
    )


def _name(provider: OpenStackProvider, upload: Upload, now: float) -> str:
    name = external_name(
        provider.image_name_format,
        image=upload.image,
        started=upload.started or now,
        upload_id=upload.id,
    )
    if name.completed:
        log.warning(
            "provider %s: image-name-format %r would name all uploads of an image alike; the upload's id is added: %s",
            provider.name,
            provider.image_name_format,
            name.text,
        )
    return name.text

"""A Cinder driver whose volumes are sparse files in one directory: no LVM, no iSCSI, no device-mapper.

In variant `fake` a connection is only a record, since no VM looks at the volume. In `qemu` a loop device carries the
file, and libvirt takes it as a local block device; that is why compute host and cinder-volume share one machine.
"""

import os
import pathlib
import subprocess

from cinder import interface
from cinder.image import image_utils
from cinder.volume import configuration, driver, volume_utils
from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt("file_directory", help="Where the files are."),
    cfg.BoolOpt("file_loop", default=False, help="Whether a connected volume gets a loop device."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class FileVolumeDriver(driver.VolumeDriver):
    """Volumes, snapshots and clones as files; what images hold is really copied into them and back."""

    VERSION = "1.0"
    CI_WIKI_NAME = ""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.directory = pathlib.Path(self.configuration.file_directory)

    def check_for_setup_error(self):
        self.directory.mkdir(parents=True, exist_ok=True)

    def _update_volume_stats(self):
        self._stats = {
            "volume_backend_name": self.configuration.volume_backend_name,
            "vendor_name": "poolmgr",
            "driver_version": self.VERSION,
            "storage_protocol": "file",
            "total_capacity_gb": "infinite",
            "free_capacity_gb": "infinite",
            "reserved_percentage": 0,
        }

    def local_path(self, volume):
        return str(self.directory / volume.name)

    def create_volume(self, volume):
        with open(self.local_path(volume), "wb") as file:
            file.truncate(volume.size << 30)

    def delete_volume(self, volume):
        self._release(volume)
        pathlib.Path(self.local_path(volume)).unlink(missing_ok=True)

    def extend_volume(self, volume, new_size):
        os.truncate(self.local_path(volume), new_size << 30)

    def create_snapshot(self, snapshot):
        self._copy(self.local_path(snapshot.volume), str(self.directory / snapshot.name))

    def delete_snapshot(self, snapshot):
        (self.directory / snapshot.name).unlink(missing_ok=True)

    def create_volume_from_snapshot(self, volume, snapshot):
        self._copy(str(self.directory / snapshot.name), self.local_path(volume))
        self.extend_volume(volume, volume.size)

    def create_cloned_volume(self, volume, src_vref):
        self._copy(self.local_path(src_vref), self.local_path(volume))
        self.extend_volume(volume, volume.size)

    def copy_image_to_volume(self, context, volume, image_service, image_id):
        path = self.local_path(volume)
        block_size = self.configuration.volume_dd_blocksize
        image_utils.fetch_to_raw(
            context, image_service, image_id, path, block_size, size=volume.size, run_as_root=False
        )
        self.extend_volume(volume, volume.size)  # the image's own size is what the copy left

    def copy_volume_to_image(self, context, volume, image_service, image_meta):
        path = self.local_path(volume)
        volume_utils.upload_volume(context, image_service, image_meta, path, volume, run_as_root=False)

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def initialize_connection(self, volume, _connector, **_kwargs):
        if not self.configuration.file_loop:
            return {"driver_volume_type": "fake", "data": {"volume_id": volume.id}}
        device = self._loop_device(volume) or self._losetup("--find", "--show", self.local_path(volume))
        return {"driver_volume_type": "local", "data": {"device_path": device}}

    def terminate_connection(self, volume, _connector, **_kwargs):
        self._release(volume)

    def _release(self, volume):
        if self.configuration.file_loop and (device := self._loop_device(volume)):
            self._losetup("--detach", device)

    def _loop_device(self, volume):
        return self._losetup("--noheadings", "--output", "NAME", "--associated", self.local_path(volume))

    @staticmethod
    def _losetup(*arguments):
        result = subprocess.run(["losetup", *arguments], check=True, capture_output=True, text=True)
        return result.stdout.strip()

    @staticmethod
    def _copy(source, target):
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)

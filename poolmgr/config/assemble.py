"""From sections without errors to the records of `settings`: names change, defaults are those of the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from poolmgr.config.inheritance import effective, lineage
from poolmgr.config.references import by_name
from poolmgr.config.schema import DEFAULT_DRIVER
from poolmgr.config.settings import (
    BootImage,
    DiskImage,
    ImageBuild,
    Label,
    OnRemove,
    OpenStackProvider,
    Pool,
    PoolLabel,
    Provider,
    ProviderImage,
    Settings,
    StaticNode,
    StaticPool,
    StaticProvider,
    TenantLimits,
    Validation,
    WebApp,
)
from poolmgr.config.shape import Part
from poolmgr.config.zookeeper import zookeeper_settings

LIMITS = {
    "max-servers": "instances",
    "max-cores": "cores",
    "max-ram": "ram",
    "max-volumes": "volumes",
    "max-volume-gb": "volume-gb",
}
_BUILDER_PORT = 8006  # a launcher on the same machine has 8005
_REBUILD_AGE = 86400.0  # where neither it nor a cron expression is given


def settings_from(main: Part, secure: Part | None) -> Settings:
    """The whole configuration. Both files have been checked and have no errors."""
    secrets = _secrets(secure)
    images = by_name(main.parts("diskimages"))
    diskimages = {
        name: _diskimage(name, effective(lineage(image, images)), secrets.get(name, {}))
        for name, image in images.items()
        if not image.get("abstract")
    }
    return Settings(
        zookeeper=zookeeper_settings(main, secure),
        webapp=_webapp(main.get("webapp"), WebApp()) or WebApp(),
        builder_webapp=_webapp(main.get("builder-webapp"), WebApp(port=_BUILDER_PORT)),
        labels={name: _label(name, part) for name, part in by_name(main.parts("labels")).items()},
        diskimages=diskimages,
        providers={
            name: _provider(name, part, diskimages) for name, part in by_name(main.parts("providers")).items()
        },
        max_hold_age=float(max(main.get("max-hold-age", 0), 0)),
        tenants={part["tenant-name"]: _tenant(part) for part in main.parts("tenant-resource-limits")},
        **main.named(
            elements_dir="elements-dir",
            images_dir="images-dir",
            build_log_dir="build-log-dir",
            build_log_retention="build-log-retention",
            clouds_files="clouds-files",
            statsd_escape="statsd-escape",
            max_parallel_uploads="max-parallel-uploads",
            upload_rate_limit="upload-rate-limit",
            images_url="images-url",
            fair_tenants="fair-tenants",
            ledger="ledger",
        ),
        on_remove=OnRemove(main.get("on-remove", OnRemove.KEEP.value)),
        **_times(main),
    )


def _times(main: Part) -> dict[str, Any]:
    """A maximum of 0 counts as not given, a grace of 0 is one."""
    given = main.named(image_orphan_grace="image-orphan-grace", idle_hold="idle-hold")
    if main.get("image-retry-max"):
        given["image_retry_max"] = main["image-retry-max"]
    return {name: float(seconds) for name, seconds in given.items()}


def _webapp(part: Part | None, default: WebApp) -> WebApp | None:
    return replace(default, **part.named(port="port", listen_address="listen_address")) if part else None


def _label(name: str, part: Part) -> Label:
    return Label(
        name=name, min_ready=part.get("min-ready", 0), max_ready_age=float(part.get("max-ready-age", 0))
    )


def _tenant(part: Part) -> TenantLimits:
    limits = {
        LIMITS.get(key, key): float(value) for key, value in part.values.items() if key != "tenant-name"
    }
    return TenantLimits(name=part["tenant-name"], limits=limits)


def _limits(part: Part) -> dict[str, float]:
    return {name: float(part[key]) for key, name in LIMITS.items() if key in part}


def _secrets(secure: Part | None) -> dict[str, dict[str, str]]:
    """Environment by image; an image named twice gets both, the later values win."""
    secrets: dict[str, dict[str, str]] = {}
    for part in secure.parts("diskimages") if secure is not None else ():
        secrets.setdefault(part["name"], {}).update(part["env-vars"])
    return secrets


def _diskimage(name: str, values: Mapping[str, Any], secrets: Mapping[str, str]) -> DiskImage:
    return DiskImage(
        name=name,
        username=values["username"],
        python_path=values["python-path"],
        shell_type=values["shell-type"],
        metadata=values["metadata"],
        pause=values["pause"],
        build=_build(values, secrets),
    )


def _build(values: Mapping[str, Any], secrets: Mapping[str, str]) -> ImageBuild:
    cron = values["rebuild-cron"] or None
    age = values["rebuild-age"]
    if age is None:
        age = 0.0 if cron else _REBUILD_AGE
    return ImageBuild(
        dib_cmd=values["dib-cmd"],
        elements=values["elements"],
        env_vars={**values["env-vars"], **secrets},
        formats=values["formats"],
        keep_formats=values["keep-formats"],
        delete_after_upload=values["delete-after-upload"],
        rebuild_age=float(age),
        rebuild_cron=cron,
        build_timeout=float(values["build-timeout"]),
        release=values["release"],
        qemu_img_options=values["qemu-img-options"],
        keep_builds=values["keep-builds"],
        keep_uploads=values["keep-uploads"],
        validate=_validation(values["validate"]),
    )


def _validation(part: Part | None) -> Validation | None:
    if part is None:
        return None
    given = part.named(command="command", script="script", private_key="private-key", username="username")
    if part.get("timeout"):
        given["timeout"] = float(part["timeout"])
    return Validation(label=part["label"], **given)


def _provider(name: str, part: Part, diskimages: Mapping[str, DiskImage]) -> Provider:
    if part.get("driver", DEFAULT_DRIVER) == "static":
        return _static(name, part)
    return _openstack(name, part, diskimages)


def _openstack(name: str, part: Part, diskimages: Mapping[str, DiskImage]) -> OpenStackProvider:
    return OpenStackProvider(
        name=name,
        launch_retries=max(part.get("launch-retries", 3), 1),
        diskimages={image["name"]: _provider_image(image) for image in part.parts("diskimages")},
        pools={
            pool_name: _pool(pool_name, pool, part, diskimages)
            for pool_name, pool in by_name(part.parts("pools")).items()
        },
        **part.named(
            cloud="cloud",
            region_name="region-name",
            rate="rate",
            boot_timeout="boot-timeout",
            launch_timeout="launch-timeout",
            image_upload_timeout="image-upload-timeout",
            port_cleanup_interval="port-cleanup-interval",
            max_concurrency="max-concurrency",
            priority="priority",
            image_name_format="image-name-format",
            post_upload_hook="post-upload-hook",
            clean_floating_ips="clean-floating-ips",
            max_parallel_uploads="max-parallel-uploads",
            upload_rate_limit="upload-rate-limit",
            reclaim_fuse="reclaim-fuse",
        ),
    )


def _provider_image(part: Part) -> ProviderImage:
    return ProviderImage(name=part["name"], **part.named(pause="pause", meta="meta"), **_connection(part))


def _pool(name: str, part: Part, provider: Part, diskimages: Mapping[str, DiskImage]) -> Pool:
    labels = {
        label_name: _pool_label(label_name, label, part, _boot_image(label, provider, diskimages))
        for label_name, label in by_name(part.parts("labels")).items()
    }
    return Pool(
        name=name,
        limits=_limits(part),
        priority=_priority(part, provider),
        labels=labels,
        **part.named(
            node_attributes="node-attributes",
            ignore_provider_quota="ignore-provider-quota",
            availability_zones="availability-zones",
            security_groups="security-groups",
            auto_floating_ip="auto-floating-ip",
        ),
    )


def _priority(pool: Part, provider: Part) -> int:
    priority: int = pool.get("priority", provider.get("priority", 100))
    return priority


def _pool_label(name: str, part: Part, pool: Part, image: BootImage) -> PoolLabel:
    return PoolLabel(
        name=name,
        image=image,
        networks=part.get("networks", pool.get("networks", ())),
        host_key_checking=part.get("host-key-checking", pool.get("host-key-checking", True)),
        **part.named(
            min_ram_mib="min-ram",
            flavor_name="flavor-name",
            key_name="key-name",
            console_log="console-log",
            boot_from_volume="boot-from-volume",
            volume_gib="volume-size",
            instance_properties="instance-properties",
            dynamic_instance_properties="dynamic-instance-properties",
            userdata="userdata",
        ),
    )


def _boot_image(label: Part, provider: Part, diskimages: Mapping[str, DiskImage]) -> BootImage:
    if "cloud-image" in label:
        return _cloud_image(by_name(provider.parts("cloud-images"))[label["cloud-image"]])
    image = diskimages[label["diskimage"]]
    listed = by_name(provider.parts("diskimages")).get(image.name)
    return BootImage(
        name=image.name,
        is_disk_image=True,
        username=image.username,
        python_path=image.python_path,
        shell_type=image.shell_type,
        **(_connection(listed) if listed else {}),
    )


def _cloud_image(part: Part) -> BootImage:
    image_id = part.get("image-id")
    return BootImage(
        name=part["name"],
        is_disk_image=False,
        image_id=image_id,
        image_name=None if image_id else part.get("image-name", part["name"]),
        **part.named(username="username", python_path="python-path", shell_type="shell-type"),
        **_connection(part),
    )


def _connection(part: Part) -> dict[str, Any]:
    given = part.named(config_drive="config-drive", connection_type="connection-type")
    return {**given, "connection_port": _port(part)}


def _port(part: Part) -> int:
    """22, or 5986 for winrm, unless given."""
    port: int = part.get("connection-port", 5986 if part.get("connection-type") == "winrm" else 22)
    return port


def _static(name: str, part: Part) -> StaticProvider:
    return StaticProvider(
        name=name,
        pools={n: _static_pool(n, pool, part) for n, pool in by_name(part.parts("pools")).items()},
        **part.named(max_concurrency="max-concurrency", priority="priority"),
    )


def _static_pool(name: str, part: Part, provider: Part) -> StaticPool:
    return StaticPool(
        name=name,
        limits=_limits(part),
        priority=_priority(part, provider),
        nodes=tuple(_static_node(node) for node in part.parts("nodes")),
        **part.named(node_attributes="node-attributes"),
    )


def _static_node(part: Part) -> StaticNode:
    return StaticNode(
        name=part["name"],
        labels=part["labels"],
        **part.named(
            username="username",
            timeout="timeout",
            host_key_checking="host-key-checking",
            host_keys="host-key",
            connection_port="connection-port",
            connection_type="connection-type",
            shell_type="shell-type",
            python_path="python-path",
            max_parallel_jobs="max-parallel-jobs",
        ),
    )

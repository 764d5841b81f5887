"""Nova's create call: names resolved, all checked, refused in Nova's words (Compute API reference, "Servers")."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poolmgr.simcloud.compute import ServerRequest
from poolmgr.simcloud.nova_view import links
from poolmgr.simcloud.refusal import Refusal, bad_request, conflict
from poolmgr.simcloud.routes import Call, json_response
from poolmgr.simcloud.things import Flavor, Image
from poolmgr.simcloud.wire import Response
from poolmgr.simcloud.world import SimCloud

_NETWORKS_REQUIRED = (2, 37)
_CREATE_TAGS = (2, 52)
_NO_PERSONALITY = (2, 57)
_VOLUME_TYPE = (2, 67)


def create(call: Call) -> Response:
    body = call.entity("server")
    server = call.cloud.compute.create(_request(call, body), call.trouble)
    answer = {
        "id": server.id,
        "links": links(call.base, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": name} for name in server.security_groups],
        "adminPass": "aB3dE5fG7hJ9",
    }
    location = {"Location": f"{call.base}/v2.1/servers/{server.id}"}
    return json_response({"server": answer}, 202, location)


def _request(call: Call, body: Mapping[str, Any]) -> ServerRequest:
    cloud = call.cloud
    if "personality" in body and call.microversion >= _NO_PERSONALITY:
        raise bad_request("Additional properties are not allowed ('personality' was unexpected)")
    flavor = _flavor(cloud, body)
    source = _boot_source(call, body, flavor)
    networks, ports = _networks(call, body.get("networks"))
    _check_port_security(cloud, body, networks)
    return ServerRequest(
        name=_name(body),
        flavor=flavor,
        image_id=source.image_id,
        networks=networks,
        ports=ports,
        zone=body.get("availability_zone"),
        key_name=body.get("key_name"),
        security_groups=_groups(cloud, body),
        metadata=_metadata(body),
        user_data=_user_data(body),
        config_drive=bool(body.get("config_drive")),
        tags=_tags(call, body),
        volume_gib=source.volume_gib,
        volume_type=source.volume_type,
        volume_id=source.volume_id,
        delete_volume=source.delete_volume,
    )


def _name(body: Mapping[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > 255:
        raise bad_request(f"Invalid input for field/attribute name. Value: {name}. '{name}' is too short")
    return name


def _flavor(cloud: SimCloud, body: Mapping[str, Any]) -> Flavor:
    reference = str(body.get("flavorRef", "")).rsplit("/", 1)[-1]
    if reference not in cloud.compute.flavors:
        raise bad_request(f"Flavor {reference} could not be found.")  # 400, not 404: measured
    return cloud.compute.flavors[reference]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What a server boots from: an image, a new volume of an image, or a volume that is there."""

    image_id: str | None
    volume_id: str | None = None
    volume_gib: int = 0
    volume_type: str = ""
    delete_volume: bool = True


def _boot_source(call: Call, body: Mapping[str, Any], flavor: Flavor) -> _Source:
    devices = body.get("block_device_mapping_v2") or ()
    root = next((d for d in devices if str(d.get("boot_index", "")) == "0"), None)
    if root is None:
        reference = str(body.get("imageRef") or "").rsplit("/", 1)[-1]
        image = _image(call.cloud, reference)
        if flavor.disk_gib == 0:
            raise Refusal(403, "Only volume-backed servers are allowed for flavors with zero disk.")
        if image.min_disk > flavor.disk_gib:
            raise bad_request("Flavor's disk is too small for requested image.")
        _check_memory(image, flavor)
        return _Source(image_id=reference)
    if root.get("volume_type") and call.versioned and call.microversion < _VOLUME_TYPE:
        raise bad_request("Additional properties are not allowed ('volume_type' was unexpected)")
    if root.get("destination_type") != "volume" or root.get("source_type") not in ("image", "volume"):
        raise bad_request("Block Device Mapping is Invalid.")
    doomed = bool(root.get("delete_on_termination"))
    if root["source_type"] == "volume":
        call.cloud.volumes.check_attachable(str(root.get("uuid")))
        return _Source(image_id=None, volume_id=str(root["uuid"]), delete_volume=doomed)
    image = _image(call.cloud, str(root.get("uuid")))
    _check_memory(image, flavor)
    return _Source(
        image_id=image.id,
        volume_gib=_volume_size(root, image),
        volume_type=str(root.get("volume_type") or ""),
        delete_volume=doomed,
    )


def _volume_size(root: Mapping[str, Any], image: Image) -> int:
    size = int(root.get("volume_size") or 0)
    if size <= 0:
        raise bad_request("Block Device Mapping is Invalid: You specified more local devices than the limit")
    if size < image.min_disk:
        raise bad_request(
            "Volume is smaller than the minimum size specified in image metadata. Volume size is "
            f"{size << 30} bytes, minimum size is {image.min_disk << 30} bytes."
        )
    return size


def _check_memory(image: Image, flavor: Flavor) -> None:
    if image.min_ram > flavor.ram_mib:
        raise bad_request("Flavor's memory is too small for requested image.")


def _image(cloud: SimCloud, image_id: str) -> Image:
    if not image_id:
        raise bad_request("Block Device Mapping is Invalid: You must specify an image or a boot device.")
    if not cloud.images.knows(image_id):
        raise bad_request("Can not find requested image")
    image = cloud.images.image(image_id)
    if image.status != "active":
        raise bad_request(f"Image {image_id} is not active.")
    return image


def _networks(call: Call, wanted: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the networks to make ports on, and of the ports given."""
    cloud = call.cloud
    usable = [n.id for n in cloud.networking.networks.values() if n.pluggable]
    if wanted is None and call.microversion >= _NETWORKS_REQUIRED:
        raise bad_request("Invalid input for field/attribute server. 'networks' is a required property")
    if "network" not in cloud.shape.services:
        return tuple(usable), ()  # nova-network gives every server all its networks
    if wanted in (None, "auto", [], ()):
        if len(usable) > 1:
            message = "Multiple possible networks found, use a Network ID to be more specific."
            raise conflict(message, "conflictingRequest")
        return tuple(usable), ()
    if wanted == "none":
        return (), ()
    if not isinstance(wanted, list):
        raise bad_request("Invalid input for field/attribute networks.")
    networks = tuple(_network(cloud, str(w["uuid"])) for w in wanted if w.get("uuid") and not w.get("port"))
    return networks, tuple(_port(cloud, str(w["port"])) for w in wanted if w.get("port"))


def _network(cloud: SimCloud, network_id: str) -> str:
    network = cloud.networking.networks.get(network_id)
    if network is None:
        raise bad_request(f"Network {network_id} could not be found.")
    if not network.subnets:
        raise bad_request(f"Network {network_id} requires a subnet in order to boot instances on.")
    if not network.pluggable:
        raise Refusal(403, f"It is not allowed to create an interface on external network {network_id}")
    return network_id


def _port(cloud: SimCloud, port_id: str) -> str:
    port = cloud.networking.ports.get(port_id)
    if port is None:
        raise bad_request(f"Port {port_id} could not be found.")
    if port.device_id:
        raise conflict(f"Port {port_id} is still in use.", "conflictingRequest")
    return port_id


def _groups(cloud: SimCloud, body: Mapping[str, Any]) -> tuple[str, ...]:
    names = [str(group.get("name")) for group in body.get("security_groups") or ()]
    return tuple(cloud.networking.group_named(name).name for name in names)


def _tags(call: Call, body: Mapping[str, Any]) -> tuple[str, ...]:
    """From 2.52 on; before that a cloud with microversions refuses them, and one without does not look."""
    tags = body.get("tags") or ()
    if not tags or not call.versioned:
        return ()
    if call.microversion < _CREATE_TAGS:
        raise bad_request("Additional properties are not allowed ('tags' was unexpected)")
    if len(tags) > 50 or any(not isinstance(t, str) or len(t) > 60 or set("/,") & set(t) for t in tags):
        raise bad_request("Invalid input for field/attribute tags.")
    return tuple(tags)


def _check_port_security(cloud: SimCloud, body: Mapping[str, Any], networks: Sequence[str]) -> None:
    if body.get("security_groups") and not all(cloud.networking.networks[n].port_security for n in networks):
        raise bad_request(
            "Network requires port_security_enabled and subnet associated in order to apply security groups."
        )


def _metadata(body: Mapping[str, Any]) -> dict[str, str]:
    metadata = body.get("metadata") or {}
    if len(metadata) > 128:
        raise Refusal(403, "Maximum number of metadata items exceeds 128", kind="forbidden")
    for key, value in metadata.items():
        if not isinstance(value, str) or len(value) > 255 or len(key) > 255:
            raise bad_request(
                f"Invalid input for field/attribute {key}. Value: {value}. '{value}' is too long"
            )
    return dict(metadata)


def _user_data(body: Mapping[str, Any]) -> str | None:
    data = body.get("user_data")
    if data is None:
        return None
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise bad_request("Invalid input for field/attribute user_data. It is not a 'base64'") from error
    if len(data) > 65535:
        raise bad_request("Invalid input for field/attribute user_data. It is too long")
    return str(data)

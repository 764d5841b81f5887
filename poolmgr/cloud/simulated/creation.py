"""Making servers on a pretend world, with the ports that are made before them."""

from __future__ import annotations

from collections.abc import Sequence

from poolmgr.cloud.simulated.calls import Calls
from poolmgr.cloud.simulated.images import SimulatedImages
from poolmgr.cloud.simulated.network import SimulatedNetworks
from poolmgr.errors import CloudError, ImageGone, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.server import ServerSpec
from poolmgr.simcloud import world as sim


class SimulatedCreator:
    """Creates servers. `precreates_ports`: a port is made for each of their networks first."""

    def __init__(
        self,
        cloud: sim.SimCloud,
        calls: Calls,
        networks: SimulatedNetworks,
        images: SimulatedImages,
        *,
        precreates_ports: bool,
    ) -> None:
        self._cloud, self._calls = cloud, calls
        self._networks, self._images = networks, images
        self._precreates_ports = precreates_ports

    def create(self, spec: ServerSpec) -> str:
        """The new server's id; on failure no port is left, unless a server may have it."""
        image = spec.image if spec.image_is_id else self._images.find(spec.image)
        if image is None:
            raise Rejected(f"there is no active image {spec.image}")
        ports = self._networks.make_ports(spec) if self._precreates_ports else []
        try:
            return self._calls.ask(
                "compute.POST.servers",
                lambda trouble: self._carry_out(spec, image, ports, trouble),
                subject=spec.name,
            )
        except OutcomeUnknown:
            raise  # a server may have the ports
        except CloudError as error:
            self._networks.drop_ports(ports)
            if isinstance(error, NotFound):  # a network, group, key or zone that it names
                raise Rejected(str(error)) from error
            raise

    def _carry_out(self, spec: ServerSpec, image: str, ports: Sequence[str], trouble: sim.Trouble) -> str:
        compute = self._cloud.compute
        known = self._cloud.images.images.get(image)
        if known is None or known.status != "active":
            raise ImageGone(f"Can not find requested image {image}")
        flavor = compute.flavors.get(spec.flavor.id)
        if flavor is None:
            raise Rejected(f"Flavor {spec.flavor.id} could not be found.")
        request = sim.ServerRequest(
            name=spec.name,
            flavor=flavor,
            image_id=image,
            networks=() if ports else self._networks.chosen(spec.networks),
            ports=tuple(ports),
            zone=spec.az,
            key_name=spec.key_name,
            security_groups=self._networks.groups(spec.security_groups),
            metadata=spec.metadata,
            user_data=spec.userdata,
            config_drive=bool(spec.config_drive),
            volume_gib=spec.volume_gib if spec.boot_from_volume else 0,
        )
        return compute.create(request, trouble).id

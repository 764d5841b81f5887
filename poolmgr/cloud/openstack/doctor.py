"""The report on a cloud, made of what its survey found and of its settings: pure."""

from __future__ import annotations

from poolmgr.cloud.openstack.addresses import rules_for
from poolmgr.cloud.openstack.findings import Case, findings
from poolmgr.cloud.openstack.floating import NatPlan
from poolmgr.cloud.openstack.netroles import Ground, network_facts, server_facts
from poolmgr.cloud.openstack.survey import Survey
from poolmgr.cloud.openstack.survey_sections import skew
from poolmgr.cloud.openstack.topology import Network, Topology, networks_to_attach
from poolmgr.cloud.openstack.upload_method import UploadFacts, upload_method
from poolmgr.cloud.openstack.versions import version_in_path
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import PoolmgrError
from poolmgr.model.cloud_report import ClockFacts, CloudReport, ImageFacts

LOGIN_SECONDS = 10.0  # that a login may take


def examine(
    settings: CloudSettings,
    found: Survey,
    *,
    region: str | None,
    now: float,
    seconds: float,
    reachable_v6: bool,
) -> CloudReport:
    """The report on a cloud. `reachable_v6`: this machine has a way to the v6 internet."""
    ground, no_choice = _ground(settings, found, reachable_v6=reachable_v6)
    case = Case(
        settings=settings,
        region=region,
        survey=found,
        now=now,
        networks=network_facts(ground) if found.topology is not None else None,
        servers=server_facts(ground) if found.login else None,
        images=_images(settings, found),
        clock=_clock(found),
        no_choice=no_choice,
    )
    return CloudReport(
        cloud=settings.name,
        region=region,
        at=now,
        seconds=seconds,
        login=found.login,
        clock=case.clock,
        tls=found.tls,
        services=found.services,
        extensions=found.extensions,
        networks=case.networks,
        servers=case.servers,
        security_groups=found.security_groups,
        key_pairs=found.key_pairs,
        flavors=found.flavors,
        zones=found.zones,
        quotas=found.quotas,
        images=case.images,
        faults=found.faults,
        findings=findings(case),
    )


def _ground(
    settings: CloudSettings, found: Survey, *, reachable_v6: bool
) -> tuple[Ground, PoolmgrError | None]:
    """What is known of networks, and why none of them can be chosen for servers that name none."""
    topology = found.topology or Topology()
    attached: tuple[Network, ...] = ()
    no_choice = None
    why = "the Compute service chooses"
    if found.topology is not None:
        try:
            attached = networks_to_attach((), settings.networks, topology)
            why = _why_attached(settings)
        except PoolmgrError as error:
            no_choice, why = error, error.message
    ground = Ground(
        settings=settings,
        topology=topology,
        plan=found.plan or NatPlan(),
        rules=rules_for(settings, topology, reachable_v6=reachable_v6),
        attached=attached,
        attached_why=why,
    )
    return ground, no_choice


def _why_attached(settings: CloudSettings) -> str:
    for flag in ("default_interface", "nat_destination"):
        if any(getattr(network, flag) for network in settings.networks):
            return f"{flag} in clouds.yaml"
    return "the only network that servers can be attached to"


def _clock(found: Survey) -> ClockFacts | None:
    """As a Date header had it, else as the token: that was issued at most some seconds before it was here."""
    login = found.login
    if found.clock is not None or login is None or login.issued_at is None or login.received_at is None:
        return found.clock
    return ClockFacts(skew=skew(login.issued_at, login.received_at - LOGIN_SECONDS, login.received_at))


def _images(settings: CloudSettings, found: Survey) -> ImageFacts | None:
    """How images get there; None if the Image service is not known."""
    image = found.services.get("image")
    if image is None:
        return None
    facts = UploadFacts(
        version=(version_in_path(image.url) or (2, 0))[0],
        import_methods=frozenset(found.import_methods or ()),
        has_object_store=found.services.get("object-store") is not None,
    )
    method = upload_method(settings, facts)
    return ImageFacts(
        method=method.way.value if method.way else "",
        why=method.reason,
        format=settings.image_format,
        import_methods=found.import_methods or (),
    )

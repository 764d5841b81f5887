"""The choice of addresses against a table of the rules of cloud.md 3.9, written without a look at the code.

A layout is drawn: networks of every kind, with addresses of every range on them. What a kind of network is for, and
what a range is, is written down here by hand; ROWS then says in which order addresses are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.cloud.openstack.addresses import AddressRules, addresses_of, roles_of
from poolmgr.cloud.openstack.topology import Network, Subnet, Topology
from poolmgr.config.settings import CloudNetwork

# -- what there is ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ip:
    text: str
    is_global: bool  # neither private, shared, loopback nor documentation
    is_unicast: bool = False  # of IPv6: in 2000::/3


RANGES = (
    *(Ip(f"8.8.8.{n}", is_global=True) for n in range(1, 5)),
    *(Ip(f"10.0.0.{n}", is_global=False) for n in range(1, 5)),
    *(Ip(f"192.168.7.{n}", is_global=False) for n in range(1, 3)),
    *(Ip(f"172.16.0.{n}", is_global=False) for n in range(1, 3)),
    *(Ip(f"100.64.0.{n}", is_global=False) for n in range(1, 3)),  # carrier grade NAT
    Ip("127.5.0.1", is_global=False),
    Ip("198.51.100.7", is_global=False),  # documentation
    *(Ip(f"2600::{n}", is_global=True, is_unicast=True) for n in range(1, 4)),
    Ip("2001:db8::7", is_global=False, is_unicast=True),  # documentation
    *(Ip(f"fd00::{n}", is_global=False) for n in range(1, 4)),  # unique local
    Ip("fe80::9", is_global=False),
)


@dataclass(frozen=True)
class Kind:
    """A kind of network: what clouds.yaml and the Network service say of it, and what that means.

    `said` is (routes_ipv4_externally, routes_ipv6_externally, default_interface), `found` is (router:external,
    provider:physical_network is told); None: nothing is said. `means4` is the word that ROWS knows, `means6` whether
    clouds.yaml says that IPv6 is routed externally.
    """

    name: str
    means4: str
    said: tuple[bool, bool, bool] | None = None
    found: tuple[bool, bool] | None = None
    means6: bool = False


EXTERNAL, INTERNAL = (True, False), (False, False)
KINDS = (
    Kind("said-out", "configured external", said=(True, False, False)),
    Kind("said-out-both", "configured external", said=(True, True, False), means6=True),
    Kind("said-in", "configured internal", said=(False, False, False)),
    Kind("said-in-6-out", "configured internal", said=(False, True, False), means6=True),
    Kind("said-in-default", "configured internal", said=(False, False, True)),
    Kind("said-out-default", "configured external", said=(True, True, True), means6=True),
    Kind("said-in-found-out", "configured internal", said=(False, False, False), found=EXTERNAL),
    Kind("said-out-found-in", "configured external", said=(True, False, False), found=INTERNAL),
    Kind("found-out", "found external", found=EXTERNAL),
    Kind("found-in", "found internal", found=INTERNAL),
    Kind("physical", "found external", found=(False, True)),
    Kind("public", "named public"),
    Kind("private", "named private"),
    Kind("elsewhere", "unknown"),
    # Two networks of one name, which nova merges: the subnet tells which one an address is on.
    Kind("twin", "found external", found=EXTERNAL),
    Kind("twin", "found internal", found=INTERNAL),
)
TWINS = {"found external": "203.0.113.", "found internal": "10.9.0."}


@dataclass(frozen=True)
class Shown:
    """One address of the server. `type` as nova tells it, None where it does not."""

    ip: Ip
    kind: Kind
    type: str | None
    mac: str

    @property
    def v6(self) -> bool:
        return ":" in self.ip.text

    @property
    def floating(self) -> bool:
        return self.type == "floating"


@dataclass(frozen=True)
class Layout:
    """`default` is the kind that is the default_interface; there is one at most."""

    shown: tuple[Shown, ...]
    known: tuple[Kind, ...]  # kinds of networks that are there, with addresses of the server or without
    access_v4: str
    access_v6: str
    private: bool
    force_ipv4: bool
    reachable_v6: bool
    find_external: bool
    find_internal: bool

    def means4(self, kind: Kind) -> str:
        """What a network of this kind is, in this cloud."""
        if kind.said is not None or kind.found is None:
            return kind.means4
        external, physical = kind.found
        # Whoever sees the physical network of all networks is an administrator, to whom it tells nothing.
        outside = external or (physical and any(k.found and not k.found[1] for k in self.known))
        if not (self.find_external if outside else self.find_internal):
            return "unknown"
        return "found external" if outside else "found internal"


# -- the rules -------------------------------------------------------------------------------------------

Sought = dict[str, str]  # outputs so far
Predicate = Callable[[Shown, Layout, Sought], bool]


def v4(predicate: Predicate) -> Predicate:
    return lambda a, layout, so_far: not a.v6 and predicate(a, layout, so_far)


def v6(predicate: Predicate) -> Predicate:
    return lambda a, layout, so_far: a.v6 and predicate(a, layout, so_far)


def on(*words: str) -> Predicate:
    return v4(lambda a, layout, _: layout.means4(a.kind) in words)


def inside(*words: str) -> Predicate:
    """A fixed address that is not taken as the public one already."""
    return v4(
        lambda a, layout, so_far: (
            not a.floating and a.ip.text != so_far["public_v4"] and layout.means4(a.kind) in words
        )
    )


#: (output, what it is of the layout itself or which addresses qualify), from the first choice to the last. Of several
#: addresses that qualify floating ones come first, then the order of the list; ORDER says where it is otherwise.
ROWS: tuple[tuple[str, Callable[[Layout, Sought], str] | None, Predicate | None], ...] = (
    ("public_v4", lambda layout, _: "" if layout.private else layout.access_v4, None),
    ("public_v4", None, on("configured external")),
    ("public_v4", None, v4(lambda a, *_: a.floating)),
    ("public_v4", None, on("found external")),
    ("public_v4", None, on("named public")),
    ("public_v4", None, v4(lambda a, *_: a.ip.is_global)),
    ("private_v4", None, inside("configured internal")),
    ("private_v4", None, inside("found internal")),
    ("private_v4", None, inside("named private")),
    (
        "private_v4",
        None,
        v4(lambda a, _, so_far: not a.floating and not a.ip.is_global and a.ip.text != so_far["public_v4"]),
    ),
    ("public_v6", lambda layout, _: "" if layout.force_ipv4 else layout.access_v6, None),
    ("public_v6", None, v6(lambda a, layout, _: not layout.force_ipv4 and a.kind.means6)),
    ("public_v6", None, v6(lambda a, layout, _: not layout.force_ipv4 and a.ip.is_unicast)),
    ("private_v6", None, v6(lambda a, _, so_far: a.ip.text != so_far["public_v6"] and not outside6(a, _))),
    ("private_v6", None, v6(lambda a, _, so_far: a.ip.text != so_far["public_v6"])),
    (
        "interface_ip",
        None,
        v6(lambda a, layout, _: is_default(a) and layout.reachable_v6 and not layout.force_ipv4),
    ),
    ("interface_ip", None, v4(lambda a, *_: is_default(a))),
    ("interface_ip", lambda layout, so_far: so_far["private_v4"] if layout.private else "", None),
    (
        "interface_ip",
        lambda layout, so_far: so_far["private_v6"] if layout.private and not layout.force_ipv4 else "",
        None,
    ),
    ("interface_ip", lambda layout, so_far: so_far["public_v6"] if layout.reachable_v6 else "", None),
    ("interface_ip", lambda _, so_far: so_far["public_v4"], None),
    ("interface_ip", lambda _, so_far: so_far["private_v4"], None),
    ("interface_ip", lambda layout, so_far: "" if layout.force_ipv4 else so_far["private_v6"], None),
    ("interface_ip", lambda _, so_far: so_far["public_v6"], None),
    ("fixed_v4", lambda _, so_far: so_far["private_v4"], None),
    ("fixed_v4", None, v4(lambda a, *_: not a.floating)),
    ("floating_v4", None, v4(lambda a, *_: a.floating)),
)


def is_default(a: Shown) -> bool:
    return a.kind.said is not None and a.kind.said[2]


def outside6(a: Shown, layout: Layout) -> bool:
    """Whether IPv6 on its network goes outside, as far as anyone says."""
    if a.kind.said is not None:
        return a.kind.means6
    if a.kind.found is not None:
        return a.kind.found[0] and layout.find_external
    return a.kind.name == "public"


def preferred(layout: Layout, output: str) -> Sequence[Shown]:
    """The server's addresses in the order of preference within a row."""
    ordered = sorted(layout.shown, key=lambda a: not a.floating and not a.v6)  # stable
    if output != "private_v4":
        return ordered
    carrying = {a.mac for a in layout.shown if a.floating and not a.v6 and a.mac}
    return sorted(ordered, key=lambda a: a.mac not in carrying)


def expected(layout: Layout) -> Sought:
    outputs: Sought = {}
    for output, value, qualifies in ROWS:
        found = outputs.setdefault(output, "")
        if found:
            continue
        if value is not None:
            outputs[output] = value(layout, outputs)
        elif qualifies is not None:
            fit = [a.ip.text for a in preferred(layout, output) if qualifies(a, layout, outputs)]
            outputs[output] = fit[0] if fit else ""
    return outputs


# -- drawing ---------------------------------------------------------------------------------------------


@st.composite
def shown_on(draw, kind: Kind) -> Shown:
    ip = draw(st.sampled_from(RANGES))
    if kind.name == "twin":
        ip = Ip(f"{TWINS[kind.means4]}{draw(st.integers(1, 9))}", is_global=False)
    kind_of_address = draw(st.sampled_from(["fixed", "floating", None]))
    return Shown(ip, kind, kind_of_address, draw(st.sampled_from(["", "aa", "bb"])))


@st.composite
def layouts(draw) -> Layout:
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=6, unique=True))
    if any(k.name == "twin" for k in kinds):
        kinds = [k for k in kinds if k.name != "twin"] + [k for k in KINDS if k.name == "twin"]
    defaults = [k for k in kinds if k.said is not None and k.said[2]]
    kinds = [k for k in kinds if k not in defaults[1:]]
    shown = tuple(draw(shown_on(kind)) for kind in kinds for _ in range(draw(st.integers(0, 3))))
    flags = [draw(st.booleans()) for _ in range(3)]
    return Layout(
        shown,
        tuple(kinds),
        draw(st.sampled_from(["", "9.9.9.9"])),
        draw(st.sampled_from(["", "2600::99"])),
        *flags,
        find_external=draw(st.booleans()) or draw(st.booleans()),  # seldom not
        find_internal=draw(st.booleans()) or draw(st.booleans()),
    )


def network_of(number: int, kind: Kind) -> Network:
    external, physical = kind.found or (False, False)
    return Network(id=f"id-{number}", name=kind.name, external=external, physical=physical)


def chosen(layout: Layout) -> Sought:
    """What the code makes of it, from what it would get to see."""
    networks = {kind: network_of(n, kind) for n, kind in enumerate(layout.known) if kind.found is not None}
    subnets = {
        network.id: Subnet(id=network.id, network_id=network.id, cidr=f"{TWINS[kind.means4]}0/24")
        for kind, network in networks.items()
        if kind.name == "twin"
    }
    configured = [
        CloudNetwork(
            name=networks[kind].id if kind in networks and number % 2 else kind.name,
            routes_ipv4_externally=kind.said[0],
            routes_ipv6_externally=kind.said[1],
            default_interface=kind.said[2],
        )
        for number, kind in enumerate(layout.known)
        if kind.said is not None
    ]
    roles = roles_of(
        configured,
        Topology(networks={network.id: network for network in networks.values()}, subnets=subnets),
        find_external=layout.find_external,
        find_internal=layout.find_internal,
    )
    rules = AddressRules(
        role=roles.role,
        private=layout.private,
        force_ipv4=layout.force_ipv4,
        reachable_v6=layout.reachable_v6,
    )
    listed: dict[str, list[dict[str, object]]] = {}
    for a in layout.shown:
        entry: dict[str, object] = {"addr": a.ip.text, "version": 6 if a.v6 else 4}
        if a.type is not None:
            entry["OS-EXT-IPS:type"] = a.type
        if a.mac:
            entry["OS-EXT-IPS-MAC:mac_addr"] = a.mac
        listed.setdefault(a.kind.name, []).append(entry)
    found = addresses_of(listed, rules, access_v4=layout.access_v4, access_v6=layout.access_v6)
    return asdict(found)


@settings(max_examples=200, deadline=None)
@given(layouts())
def test_addresses_are_chosen_by_the_table(layout):
    assert chosen(layout) == expected(layout)

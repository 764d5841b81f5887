"""`poolmgr cloud inventory`: servers as a dynamic inventory for Ansible."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from poolmgr.cli.commandline import Subcommands, add_command
from poolmgr.config.clouds import Clouds, load_clouds
from poolmgr.errors import CloudUnavailable, ConfigError, NotFound, PoolmgrError
from poolmgr.model.server import META_GROUPS, Server

if TYPE_CHECKING:
    from poolmgr.cloud import Connection  # half a second to load: not for `--help`

DESCRIPTION = """\
Print the servers of clouds as an inventory for Ansible: all of the named clouds, or of every cloud and region in
clouds.yaml, that have an address, whoever made them. Hosts are called by their server's name, or by its id where
several have the name. Groups are cloud_NAME, region_NAME, flavor_NAME, image_NAME, az_NAME, and those that a server's
metadata lists as `groups`, separated by commas; letters that Ansible does not allow in them become _.

  poolmgr cloud inventory --list
  poolmgr cloud inventory north south --host my-server

For ansible-inventory and ansible-playbook put this into an executable file and name that with -i:

  #!/bin/sh
  exec poolmgr cloud inventory "$@"

A cloud that fails is told on stderr and left out. Exit code 0: there is an inventory; 1: every cloud failed, or there
is no such host.
"""

THREADS = 8


def add_to(verbs: Subcommands) -> None:
    parser = add_command(verbs, "inventory", run, summary="servers for Ansible", description=DESCRIPTION)
    parser.add_argument("clouds", metavar="CLOUD", nargs="*", help="clouds of clouds.yaml (default: all)")
    parser.add_argument(
        "--env", action="store_true", help="also the cloud that the OS_* variables describe, `envvars`"
    )
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--list", action="store_true", help="everything (the default)")
    wanted.add_argument("--host", metavar="NAME", help="the variables of one host")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One region of one cloud."""

    cloud: str
    region: str | None


@dataclass(frozen=True, kw_only=True)
class Located:
    """A server, and where it is."""

    place: Place
    server: Server
    image: str = ""  # its name; its id where the image is gone, "" for a server that boots from a volume


def run(args: argparse.Namespace) -> int:
    clouds = load_clouds(environ=os.environ, cwd=os.getcwd(), env=args.env, lasting=False)
    places, failures = places_of(clouds, args.clouds or clouds.names())
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda place: servers_in(place, env=args.env), places))
    failures += [answer for answer in answers if isinstance(answer, PoolmgrError)]
    for failure in failures:
        print(f"poolmgr: left out: {failure}", file=sys.stderr)
    found = [answer for answer in answers if not isinstance(answer, PoolmgrError)]
    if failures and not found:
        raise CloudUnavailable("no inventory: every cloud failed")
    inventory = inventory_of([located for answer in found for located in answer])
    if args.host is None:
        print(json.dumps(inventory, indent=2))
        return 0
    variables = inventory["_meta"]["hostvars"].get(args.host)
    if variables is None:
        raise NotFound(f"no host {args.host}; the inventory has {len(inventory['_meta']['hostvars'])} hosts")
    print(json.dumps(variables, indent=2))
    return 0


def places_of(clouds: Clouds, names: Iterable[str]) -> tuple[list[Place], list[PoolmgrError]]:
    """All regions of these clouds, and what is wrong with clouds that cannot be looked at."""
    places: list[Place] = []
    failures: list[PoolmgrError] = []
    for name in names:
        try:
            places += [Place(cloud=name, region=region) for region in clouds.regions(name) or (None,)]
        except ConfigError as error:
            failures.append(error)
    return places, failures


def servers_in(place: Place, *, env: bool) -> list[Located] | PoolmgrError:
    """All servers of a place, or why there is no answer."""
    from poolmgr.cloud import connect

    try:
        with connect(place.cloud, place.region, env=env) as cloud:
            servers = cloud.list_servers(all=True)
            images = {image: image_name(cloud, image) for image in {s.image_id for s in servers} if image}
            return [Located(place=place, server=s, image=images.get(s.image_id or "", "")) for s in servers]
    except PoolmgrError as error:
        return error


def image_name(cloud: Connection, image_id: str) -> str:
    """An image may be gone, or not be ours to see."""
    try:
        return cloud.get_image(image_id).name or image_id
    except PoolmgrError:
        return image_id


def inventory_of(found: Sequence[Located]) -> dict[str, Any]:
    """What Ansible expects of `--list` (Ansible developer guide, "Developing dynamic inventory")."""
    # Two entries of clouds.yaml may lead to one project.
    once = {one.server.id: one for one in reversed(found) if one.server.addresses.interface_ip}.values()
    names = Counter(one.server.name for one in once)
    hosts = {
        one.server.name if one.server.name and names[one.server.name] == 1 else one.server.id: one
        for one in sorted(once, key=lambda one: (one.server.name, one.server.id))
    }
    groups: dict[str, list[str]] = {}
    for host, one in hosts.items():
        for group in groups_of(one):
            groups.setdefault(group, []).append(host)
    return {
        "_meta": {"hostvars": {host: variables_of(one) for host, one in hosts.items()}},
        "all": {"children": sorted({*groups, "ungrouped"})},
        **{group: {"hosts": groups[group]} for group in sorted(groups)},
    }


def groups_of(one: Located) -> list[str]:
    """The groups of one server, each once; those it names itself last."""
    server = one.server
    kinds = {
        "cloud": one.place.cloud,
        "region": one.place.region,
        "flavor": server.flavor_name,
        "image": one.image,
        "az": server.az,
    }
    named = [f"{kind}_{name}" for kind, name in kinds.items() if name]
    named += [name.strip() for name in server.metadata.get(META_GROUPS, "").split(",")]
    return list(dict.fromkeys(group_name(name) for name in named if name))


def group_name(name: str) -> str:
    """`name` as Ansible allows it: letters, digits and _, no digit first, and none of its own groups."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{safe}" if safe[:1].isdigit() or safe in ("all", "ungrouped", "_meta") else safe


def variables_of(one: Located) -> Mapping[str, Any]:
    """The variables of one host."""
    server = one.server
    return {
        "ansible_host": server.addresses.interface_ip,
        "openstack": {
            "id": server.id,
            "name": server.name,
            "status": server.status_text or server.status.value,
            "cloud": one.place.cloud,
            "region": one.place.region,
            "az": server.az,
            "flavor": server.flavor_name,
            "image": one.image,
            "image_id": server.image_id,
            "created_at": server.created_at,
            "addresses": asdict(server.addresses),
            "metadata": dict(server.metadata),
            "volumes": list(server.volumes),
        },
    }

"""Fills a fresh cloud: users and endpoints, then networks, flavors, images and quotas, then zones.

    seed.py identity CLOUDS_YAML TYPE=NAME=URL...
    seed.py cloud CLOUDS_YAML VARIANT IMAGE_NAME IMAGE_FILE
    seed.py hosts CLOUDS_YAML VARIANT COUNT DISCOVER_COMMAND...

CLOUDS_YAML is the file that up.sh wrote; its cloud `admin` does the work, and each other cloud there is a pool: a
project of its own with a user of that name. Every step looks first, so all of it may run again at any time. It uses
keystoneauth1 and no SDK: the calls are few and plain, and an SDK needs seconds to load.
"""

import concurrent.futures
import itertools
import subprocess
import sys
import time
from collections.abc import Callable

import yaml
from keystoneauth1 import session
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity import v3

ROLES = ("admin", "member", "reader", "service")

# name: vCPUs, MiB of memory, GiB of disk
FLAVORS = {
    "m1.nano": (1, 192, 2),
    "m1.tiny": (1, 512, 4),
    "m1.small": (1, 1024, 10),
    "m1.medium": (2, 2048, 20),
    "m1.large": (4, 4096, 40),
}

# project: servers and cores (4 GiB of memory each), volumes (10 GiB each); -1 is no limit
QUOTAS = {"admin": (-1, -1), "pool-a": (-1, -1), "pool-b": (50, 20), "pool-c": (20, 4)}

# Neutron allows loopback networks when they have no DHCP. An address that Nova hands out is then one on which this
# machine answers, so a test's SSH server can play the node, and nothing ever leaves the machine.
SHARED_NETWORKS = {
    "fake": {
        "public": ("127.77.0.0/16", "127.77.0.1", "127.77.1.1", "127.77.200.254"),
        "direct": ("127.78.0.0/16", "127.78.0.1", "127.78.1.1", "127.78.200.254"),
    },
    "qemu": {
        "public": ("172.24.4.0/24", "172.24.4.1", "172.24.4.10", "172.24.4.250"),
        "direct": ("172.24.5.0/24", "172.24.5.1", "172.24.5.10", "172.24.5.250"),
    },
}


class Service:
    """One service as seen by one project: JSON in, JSON out, an exception for every refusal."""

    def __init__(self, keystone_session: session.Session, kind: str) -> None:
        self.adapter = Adapter(keystone_session, service_type=kind, interface="public")

    def get(self, path: str, **query: object) -> dict:
        return self.adapter.get(path, params=query).json()

    def send(self, method: str, path: str, body: dict | None = None) -> dict:
        answer = self.adapter.request(path, method, json=body)
        return answer.json() if answer.content else {}

    def named(self, path: str, name: str, **query: object) -> dict | None:
        """The one thing of this name in the collection at `path`; None when there is none."""
        things = self.get(path, **query)[path.rpartition("/")[2].replace("-", "_")]
        return next((thing for thing in things if thing["name"] == name), None)

    def ensured(self, path: str, kind: str, wanted: dict, **query: object) -> dict:
        """The thing of the name in `wanted`, made if it is not there yet."""
        return self.named(path, wanted["name"], **query) or self.send("POST", path, {kind: wanted})[kind]


class Cloud:
    """The services of one cloud of clouds.yaml."""

    def __init__(self, clouds_yaml: str, name: str) -> None:
        with open(clouds_yaml, encoding="utf-8") as source:
            entry = yaml.safe_load(source)["clouds"][name]
        self.name = name
        self.password = entry["auth"]["password"]
        self.region = entry["region_name"]
        self.session = session.Session(auth=v3.Password(**entry["auth"]))
        self.identity = Service(self.session, "identity")
        self.compute = Service(self.session, "compute")
        self.network = Service(self.session, "network")
        self.image = Service(self.session, "image")
        self.volume = Service(self.session, "volumev3")

    @property
    def project_id(self) -> str:
        return self.session.get_project_id()


def pool_names(clouds_yaml: str) -> list[str]:
    with open(clouds_yaml, encoding="utf-8") as source:
        return [name for name in yaml.safe_load(source)["clouds"] if name != "admin"]


def seed_identity(clouds_yaml: str, *services: str) -> None:
    admin = Cloud(clouds_yaml, "admin")
    keystone = admin.identity
    roles = {name: keystone.ensured("/roles", "role", {"name": name})["id"] for name in ROLES}

    def account(name: str, project: str, *granted: str) -> None:
        project_id = keystone.ensured("/projects", "project", {"name": project, "domain_id": "default"})["id"]
        user = {
            "name": name,
            "password": admin.password,
            "domain_id": "default",
            "default_project_id": project_id,
        }
        user_id = keystone.ensured("/users", "user", user)["id"]
        for role in granted:
            keystone.send("PUT", f"/projects/{project_id}/users/{user_id}/roles/{roles[role]}")

    for name in pool_names(clouds_yaml):
        account(name, name, "member")
    have = {
        (endpoint["service_id"], endpoint["interface"])
        for endpoint in keystone.get("/endpoints")["endpoints"]
    }
    for kind, name, url in (service.split("=", 2) for service in services):
        account(name, "service", "admin", "service")
        service_id = keystone.ensured("/services", "service", {"name": name, "type": kind})["id"]
        for interface in ("public", "internal", "admin"):
            if (service_id, interface) not in have:
                endpoint = {
                    "service_id": service_id,
                    "interface": interface,
                    "url": url,
                    "region_id": admin.region,
                }
                keystone.send("POST", "/endpoints", {"endpoint": endpoint})


def seed_cloud(clouds_yaml: str, variant: str, image_name: str, image_file: str) -> None:
    admin = Cloud(clouds_yaml, "admin")
    for name, (vcpus, ram_mib, disk_gib) in FLAVORS.items():
        flavor = {"name": name, "vcpus": vcpus, "ram": ram_mib, "disk": disk_gib}
        admin.compute.ensured("/flavors", "flavor", flavor)
    networks = {name: shared_network(admin, variant, name) for name in SHARED_NETWORKS[variant]}
    pools = [Cloud(clouds_yaml, name) for name in pool_names(clouds_yaml)]
    with concurrent.futures.ThreadPoolExecutor(len(pools)) as executor:
        list(executor.map(pool_network, pools, itertools.count(10), itertools.repeat(networks["public"])))
    for cloud in (admin, *pools):
        set_quotas(admin, cloud)
    upload_image(admin, image_name, image_file)


def shared_network(admin: Cloud, variant: str, name: str) -> str:
    """Id of the external network `public` or of the provider network `direct` that every project may use."""
    cidr, gateway, first, last = SHARED_NETWORKS[variant][name]
    network = {
        "name": name,
        "router:external": name == "public",
        "shared": name == "direct",
        "provider:network_type": "flat",
        "provider:physical_network": name,
    }
    network_id = admin.network.ensured("/v2.0/networks", "network", network)["id"]
    subnet = {
        "name": f"{name}-v4",
        "network_id": network_id,
        "ip_version": 4,
        "cidr": cidr,
        "gateway_ip": gateway,
        "enable_dhcp": variant == "qemu" and name == "direct",
        "allocation_pools": [{"start": first, "end": last}],
    }
    admin.network.ensured("/v2.0/subnets", "subnet", subnet, network_id=network_id)
    return network_id


def pool_network(pool: Cloud, octet: int, public_id: str) -> None:
    """A network of the pool's own, a router to `public`, and ssh and ping let in by its default group."""
    neutron, own = pool.network, {"project_id": pool.project_id}
    network = neutron.ensured("/v2.0/networks", "network", {"name": "private"}, **own)
    subnet = {
        "name": "private-v4",
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": f"10.{octet}.0.0/16",
    }
    subnet_id = neutron.ensured("/v2.0/subnets", "subnet", subnet, network_id=network["id"])["id"]
    router = {"name": "router", "external_gateway_info": {"network_id": public_id}}
    router_id = neutron.ensured("/v2.0/routers", "router", router, **own)["id"]
    if not neutron.get("/v2.0/ports", network_id=network["id"], device_id=router_id)["ports"]:
        neutron.send("PUT", f"/v2.0/routers/{router_id}/add_router_interface", {"subnet_id": subnet_id})
    group = neutron.get("/v2.0/security-groups", name="default", **own)["security_groups"][0]
    have = {(rule["protocol"], rule["port_range_min"]) for rule in group["security_group_rules"]}
    for protocol, port in (("tcp", 22), ("icmp", None)):
        if (protocol, port) not in have:
            rule = {
                "security_group_id": group["id"],
                "direction": "ingress",
                "ethertype": "IPv4",
                "protocol": protocol,
                "port_range_min": port,
                "port_range_max": port,
            }
            neutron.send("POST", "/v2.0/security-group-rules", {"security_group_rule": rule})


def set_quotas(admin: Cloud, cloud: Cloud) -> None:
    servers, volumes = QUOTAS[cloud.name]
    compute = {"instances": servers, "cores": servers, "ram": servers if servers < 0 else servers * 4096}
    admin.compute.send(
        "PUT", f"/os-quota-sets/{cloud.project_id}", {"quota_set": {**compute, "key_pairs": 100}}
    )
    volume = {"volumes": volumes, "gigabytes": volumes if volumes < 0 else volumes * 10}
    admin.volume.send("PUT", f"/os-quota-sets/{cloud.project_id}", {"quota_set": volume})


def upload_image(admin: Cloud, name: str, path: str) -> None:
    if any(image["status"] == "active" for image in admin.image.get("/v2/images", name=name)["images"]):
        return
    disk_format = "qcow2" if path.endswith(".qcow2") else "raw"
    image = {"name": name, "disk_format": disk_format, "container_format": "bare", "visibility": "public"}
    image_id = admin.image.send("POST", "/v2/images", image)["id"]
    with open(path, "rb") as content:
        headers = {"Content-Type": "application/octet-stream"}
        admin.image.adapter.put(f"/v2/images/{image_id}/file", data=content, headers=headers)


def seed_hosts(clouds_yaml: str, variant: str, count: str, *discover: str) -> None:
    admin = Cloud(clouds_yaml, "admin")
    nova, wanted = admin.compute, int(count)

    def hosts() -> set[str]:
        services = nova.get("/os-services", binary="nova-compute")["services"]
        return {service["host"] for service in services if service["state"] == "up"}

    # A host shows up as a service a moment before its record, which discovery maps to the cell, is there.
    def all_in_the_cell() -> bool:
        if len(nova.get("/os-hypervisors")["hypervisors"]) >= wanted:
            return True
        subprocess.run(discover, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return False

    wait_until(f"{wanted} compute hosts are up", lambda: len(hosts()) >= wanted)
    wait_until(f"the cell knows {wanted} hosts", all_in_the_cell)
    if variant == "fake":
        put_into_zones(nova, hosts())
    # Cinder refuses volumes until its scheduler has heard of a backend.
    wait_until("Cinder has a backend", lambda: bool(admin.volume.get("/scheduler-stats/get_pools")["pools"]))


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"not so within two minutes: {what}")
        time.sleep(0.5)


def put_into_zones(nova: Service, hosts: set[str]) -> None:
    known = {aggregate["name"]: aggregate for aggregate in nova.get("/os-aggregates")["aggregates"]}
    for zone in ("az1", "az2", "broken"):
        if zone not in known:
            wanted = {"name": zone, "availability_zone": zone}
            known[zone] = {
                "hosts": [],
                **nova.send("POST", "/os-aggregates", {"aggregate": wanted})["aggregate"],
            }
    for host in sorted(hosts):
        kind, _, number = host.partition("-")
        zone = "broken" if kind == "broken" else "az1" if int(number) % 2 else "az2"
        if host not in known[zone]["hosts"]:
            nova.send("POST", f"/os-aggregates/{known[zone]['id']}/action", {"add_host": {"host": host}})


if __name__ == "__main__":
    steps = {"identity": seed_identity, "cloud": seed_cloud, "hosts": seed_hosts}
    steps[sys.argv[1]](*sys.argv[2:])

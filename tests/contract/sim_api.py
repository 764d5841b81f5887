"""A plain client of simcloud's APIs, for tests that look at what goes over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from poolmgr.simcloud.server import RunningSim, running


class Hand:
    """The world's clock; it moves when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


class Api:
    """One cloud as a client sees it, logged in."""

    def __init__(self, sim: RunningSim, name: str, clock: Hand) -> None:
        self.sim, self.name, self.clock = sim, name, clock
        self.auth = sim.clouds_yaml()["clouds"][name]["auth"]
        self.http = requests.Session()
        self.urls: dict[str, str] = {}
        self.log_in()

    def log_in(self) -> None:
        domain = {"name": self.auth["user_domain_name"]}
        user = {"name": self.auth["username"], "password": self.auth["password"], "domain": domain}
        body = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": self.auth["project_name"], "domain": domain}},
        }
        answer = self.http.post(f"{self.auth['auth_url']}/auth/tokens", json={"auth": body}, timeout=10)
        assert answer.status_code == 201, answer.text
        self.http.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        catalog = answer.json()["token"]["catalog"]
        self.urls = {service["type"]: service["endpoints"][0]["url"] for service in catalog}
        if "network" in self.urls:
            self.urls["network"] += "/v2.0"
        self.urls["image"] += f"/{self.sim.world.clouds[self.name].shape.image_api.versions[0]}"

    def call(self, method: str, service: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        options = {"timeout": 10, **more}
        return self.http.request(method, self.urls[service] + path, json=body, **options)

    def get(self, service: str, path: str, **more: Any) -> Any:
        answer = self.call("GET", service, path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def server_body(self, name: str = "n", **more: Any) -> dict[str, Any]:
        flavor = self.get("compute", "/flavors/detail")["flavors"][0]["id"]
        image = self.get("image", "/images?name=debian-12")["images"][0]["id"]
        body = {"name": name, "flavorRef": flavor, "imageRef": image, **more}
        if "network" in self.urls and "networks" not in more:
            networks = self.get("network", "/networks")["networks"]
            body["networks"] = [{"uuid": n["id"]} for n in networks if n["name"] != "ext-net"]
        return {"server": body}

    def create(self, name: str = "n", **more: Any) -> str:
        """Ask for a server; its id."""
        answer = self.call("POST", "compute", "/servers", self.server_body(name, **more))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["server"]["id"])

    def boot(self, name: str = "n", **more: Any) -> dict[str, Any]:
        """A server that is ACTIVE, as listed."""
        server_id = self.create(name, **more)
        self.clock.go(10)
        server: dict[str, Any] = self.get("compute", f"/servers/{server_id}")["server"]
        assert server["status"] == "ACTIVE"
        return server

    def plan(self, kind: str, operation: str, **more: Any) -> None:
        """Plan a fault, as a tester does it from outside."""
        body = {"kind": kind, "operation": operation, **more}
        answer = requests.post(f"{self.sim.url}/_sim/{self.name}/faults", json=body, timeout=10)
        assert answer.status_code == 200, answer.text

    def state(self, path: str = "", method: str = "GET", body: Any = None) -> Any:
        """What /_sim/ says of this cloud."""
        answer = requests.request(method, f"{self.sim.url}/_sim/{self.name}{path}", json=body, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def api(shape: str = "direct", **cloud: Any) -> Iterator[Api]:
    """A running cloud called `one` and a client of it."""
    clock = Hand()
    config = {"seed": 3, "clouds": {"one": {"shape": shape, "boot": 2, **cloud}, "two": {"shape": "nat"}}}
    with running(config, clock) as sim:
        client = Api(sim, "one", clock)
        try:
            yield client
        finally:
            client.http.close()

"""The limits of a pretend project. An absent name is unlimited; they may be changed at any time.

Names: instances, cores, ram (MiB), ports, floating_ips, security_groups, volumes, gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMES = ("instances", "cores", "ram", "ports", "floating_ips", "security_groups", "volumes", "gigabytes")


class Quota:
    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits: dict[str, float] = {}
        self.set(limits)

    def set(self, limits: Mapping[str, float | None]) -> None:
        """Change the named limits; None or a negative number lifts one. `floating-ips` is `floating_ips`."""
        for key, value in limits.items():
            name = key.replace("-", "_")
            if name not in NAMES:
                raise ValueError(f"no quota is called {key}; known: {', '.join(NAMES)}")
            self._limits.pop(name, None)
            if value is not None and value >= 0:
                self._limits[name] = float(value)

    def limit(self, name: str) -> float:
        """-1 where there is none, as the APIs say it."""
        return self._limits.get(name, -1)

    def exceeded(
        self, need: Mapping[str, float], used: Mapping[str, float]
    ) -> dict[str, tuple[float, float, float]]:
        """The resources that `need` does not fit into: name -> (needed, used, limit)."""
        return {
            name: (amount, used.get(name, 0), self._limits[name])
            for name, amount in need.items()
            if name in self._limits and used.get(name, 0) + amount > self._limits[name]
        }

    @property
    def limits(self) -> Mapping[str, float]:
        return dict(self._limits)

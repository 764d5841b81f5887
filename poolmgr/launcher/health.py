"""What a launcher says of its own health (`/ready`, `/live`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

#: Whoever has not finished a cycle for so long, in seconds, is stuck.
STUCK_AFTER = 600.0


def unready(
    configured: Collection[str], failed: Mapping[str, str], connected: Mapping[str, bool], *, settled: bool
) -> str | None:
    """Why no requests are served now; None if they are, were it for one provider, or if others own all there is.

    `failed`: why a provider of the configuration cannot be served. `connected`: by provider that we own, whether its
    cloud has answered. `settled`: whether it is known which providers are ours.
    """
    if configured and failed.keys() >= set(configured):
        return "no provider can be served: " + "; ".join(
            f"{name}: {failed[name]}" for name in sorted(configured)
        )
    if not settled:
        return "it has not found its place in the fleet yet"
    if connected and not any(connected.values()):
        return f"no cloud has answered yet: {', '.join(connected)}"
    return None


def stuck(last_cycle_at: Mapping[str, float], now: float) -> str | None:
    """Who has stopped working, by the end of everyone's last cycle; None: nobody. In monotonic seconds."""
    silent = {who: now - at for who, at in last_cycle_at.items()}
    told = [f"{who} has not finished a cycle for {s:.0f} s" for who, s in silent.items() if s > STUCK_AFTER]
    return "; ".join(told) or None

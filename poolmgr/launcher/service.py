"""What the fleet knows of whoever serves a provider, whatever its driver."""

from __future__ import annotations

from typing import Protocol, TypeVar

from poolmgr.config.settings import Provider
from poolmgr.launcher.context import ProviderConfig

C_contra = TypeVar("C_contra", bound=ProviderConfig, contravariant=True)


class Service(Protocol[C_contra]):
    """One provider's worker: it serves from `start` until it is `gone`, or to `stop`. All of this is for any thread."""

    @property
    def provider(self) -> Provider:
        """As configured last."""

    @property
    def last_cycle_at(self) -> float:
        """Monotonic seconds: when it last had a look at everything."""

    @property
    def connected(self) -> bool:
        """Whether it can serve: its cloud has answered once, where it has one."""

    @property
    def idle(self) -> bool:
        """Whether no request is in hand."""

    def start(self) -> None: ...

    def reconfigure(self, config: C_contra) -> None:
        """Go by `config` from the next cycle on."""

    def drain(self) -> None:
        """Take nothing new; finish what is in hand."""

    def let_go(self) -> None:
        """End soon, and leave everything as it is to who owns the provider next."""

    @property
    def gone(self) -> bool:
        """Whether it has ended by itself: let go, or as the provider was lost. It acts no more and holds no lock."""

    def stop(self, timeout: float) -> bool:
        """Hand back what is left, withdraw the pools. Whether all ended within `timeout` seconds."""

    def describe(self) -> str:
        """One line for dumps."""

"""How a command gets at the store: the configuration, a connection with a time limit, and the end of both."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from poolmgr.config.load import load
from poolmgr.config.settings import Settings
from poolmgr.errors import StoreUnavailable
from poolmgr.runtime.clock import Clock, SystemClock
from poolmgr.store.api import Store


def load_settings(args: argparse.Namespace) -> Settings:
    """The files named by `-c` and `-s`. Raises ConfigError."""
    return load(args.config, secure=args.secure, environ=os.environ).settings


@contextmanager
def opened(args: argparse.Namespace, settings: Settings | None = None) -> Iterator[Store]:
    """The store of the configuration, connected, closed again at the end. `settings` None: loaded here.

    Raises ConfigError, StoreUnavailable when there is no connection within `--connect-timeout` seconds.
    """
    settings = settings or load_settings(args)
    from poolmgr import (
        wiring,
    )  # it imports every part there is: not for a wrong configuration, nor for `--help`

    store = wiring.open_store(settings)
    try:
        connect(store, settings, SystemClock(), args.connect_timeout)
        yield store
    finally:
        store.close()


def connect(store: Store, settings: Settings, clock: Clock, timeout: float) -> None:
    """Start `store`. Raises StoreUnavailable, with what to look at, after `timeout` seconds."""
    deadline = clock.monotonic() + timeout
    store.start(stop=lambda: clock.monotonic() >= deadline)
    if not store.connected:
        raise StoreUnavailable(
            f"no answer from ZooKeeper at {settings.zookeeper.hosts} within {timeout:g} seconds. "
            "Is it running, reachable from here, and are host, port and zookeeper-tls in the configuration right? "
            "(--connect-timeout SECONDS waits longer)"
        )

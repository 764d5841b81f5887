"""Where ZooKeeper is and how to talk to it, out of the main and the secure file."""

from __future__ import annotations

from poolmgr.config.settings import Tls, ZooKeeper, ZooKeeperServer
from poolmgr.config.shape import Part, Spot

_TLS_HINT = (
    "give cert, key and ca in zookeeper-tls, here or in the secure file; "
    "'zookeeper-plaintext: true' asks for a connection without TLS"
)


def check_zookeeper(main: Part, secure: Part | None, *, complete: bool) -> None:
    """Report what is missing for a connection, and servers that do not agree on the chroot.

    `complete` False: a secure file that is not at hand may add what is missing, so that is only a warning.
    """
    files = [main] if secure is None else [main, secure]
    if not any(file.at("zookeeper-servers").value for file in files):
        _missing(
            main.at("zookeeper-servers"), complete, "no ZooKeeper servers", "list them, or in the secure file"
        )
    encrypted = any(file.at("zookeeper-tls").value for file in files)
    plaintext = main.get("zookeeper-plaintext", False)
    if encrypted and plaintext:
        main.at("zookeeper-plaintext").error("both TLS and plaintext are asked for", allowed="one of them")
    if not encrypted and not plaintext:
        _missing(main.at("zookeeper-tls"), complete, "no TLS for ZooKeeper", _TLS_HINT)
    _check_chroot(main, secure)


def zookeeper_settings(main: Part, secure: Part | None) -> ZooKeeper:
    """The connection. The secure file's servers and TLS replace those of the main file."""
    servers = _servers(main, secure)
    holder = _holder(main, secure, "zookeeper-tls")
    tls = holder["zookeeper-tls"] if holder else None
    return ZooKeeper(
        servers=tuple(ZooKeeperServer(**server.named(host="host", port="port")) for server in servers),
        chroot=next((server["chroot"] for server in servers if server.get("chroot")), ""),
        tls=Tls(cert=tls["cert"], key=tls["key"], ca=tls["ca"]) if tls else None,
        **main.named(plaintext="zookeeper-plaintext", timeout="zookeeper-timeout"),
    )


def _holder(main: Part, secure: Part | None, key: str) -> Part | None:
    """Whichever file's `key` counts: the secure one's if it is not empty."""
    if secure is not None and secure.get(key):
        return secure
    return main if main.get(key) else None


def _servers(main: Part, secure: Part | None) -> tuple[Part, ...]:
    holder = _holder(main, secure, "zookeeper-servers")
    return holder.parts("zookeeper-servers") if holder else ()


def _missing(at: Spot, complete: bool, what: str, hint: str) -> None:
    if complete:
        at.error(what, found="", hint=hint)
    else:
        at.warning(what, found="", hint=f"the daemons need it: {hint}")


def _check_chroot(main: Part, secure: Part | None) -> None:
    """ZooKeeper takes one chroot for all servers; the reference joined several into nonsense."""
    chroots: dict[str, Part] = {}
    for server in _servers(main, secure):
        chroot = server.get("chroot")
        if not chroot:
            continue
        chroots.setdefault(chroot, server)
        if len(chroots) > 1:
            server.at("chroot").error(
                "servers with different chroots",
                allowed=f"{next(iter(chroots))!r} for all, or for one of them",
            )

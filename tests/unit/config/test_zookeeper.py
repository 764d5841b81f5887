from __future__ import annotations

import pytest

from poolmgr.config.problem import Severity

TLS = "\nzookeeper-tls: {cert: /c, key: /k, ca: /a}\n"


def servers(*entries, more=TLS):
    return "\nzookeeper-servers:" + "".join(f"\n  - {{{entry}}}" for entry in entries) + more


@pytest.mark.parametrize(
    ("entries", "hosts"),
    [
        (["host: zk1"], "zk1:2281"),
        (["host: zk1, port: 2181", "host: 10.0.0.1"], "zk1:2181,10.0.0.1:2281"),
        (["host: '2001:db8::1'", "host: '[2001:db8::2]', port: 1"], "[2001:db8::1]:2281,[2001:db8::2]:1"),
        (["host: a, chroot: /np", "host: b, chroot: /np"], "a:2281,b:2281/np"),  # once, at the end
        (["host: a", "host: b, chroot: /np/x/"], "a:2281,b:2281/np/x"),
        (["host: a, chroot: /", "host: b, chroot: ''"], "a:2281,b:2281"),
    ],
)
def test_the_connection_string(look, entries, hosts):
    examined = look("", zookeeper=servers(*entries))
    assert examined.problems == ()
    assert examined.settings.zookeeper.hosts == hosts


def test_tls_timeout_and_plaintext(look):
    zookeeper = look("zookeeper-timeout: 20", zookeeper=servers("host: a")).settings.zookeeper
    assert (zookeeper.tls.cert, zookeeper.tls.key, zookeeper.tls.ca) == ("/c", "/k", "/a")
    assert (zookeeper.timeout, zookeeper.plaintext) == (20.0, False)
    zookeeper = look(
        "", zookeeper=servers("host: a", more="\nzookeeper-plaintext: true\n")
    ).settings.zookeeper
    assert (zookeeper.tls, zookeeper.plaintext) == (None, True)


@pytest.mark.parametrize(
    ("zookeeper", "path", "what"),
    [
        (
            servers("host: a, chroot: /x", "host: b, chroot: /y"),
            "zookeeper-servers[1].chroot",
            "different chroots",
        ),
        (servers("host: a, chroot: np"), "zookeeper-servers[0].chroot", "wrong value"),
        (servers("host: 'a:2281'"), "zookeeper-servers[0].host", "wrong value"),
        (servers("host: 'a,b'"), "zookeeper-servers[0].host", "wrong value"),
        (servers("host: 'a/np'"), "zookeeper-servers[0].host", "wrong value"),
        (servers("host: a, port: 70000"), "zookeeper-servers[0].port", "wrong value"),
        (servers("host: a, ports: 1", "host: 5"), "zookeeper-servers[1].host", "wrong value"),
        (TLS, "zookeeper-servers", "no ZooKeeper servers"),
        ("\nzookeeper-servers: []" + TLS, "zookeeper-servers", "no ZooKeeper servers"),
        (servers("host: a", more="\n"), "zookeeper-tls", "no TLS for ZooKeeper"),
        (servers("host: a", more="\nzookeeper-tls:\n"), "zookeeper-tls", "no TLS for ZooKeeper"),
        (servers("host: a", more="\nzookeeper-plaintext: false\n"), "zookeeper-tls", "no TLS for ZooKeeper"),
        (
            servers("host: a", more="\nzookeeper-tls: {cert: /c, key: /k}\n"),
            "zookeeper-tls",
            "'ca' is missing",
        ),
        (
            servers("host: a", more=TLS + "zookeeper-plaintext: true\n"),
            "zookeeper-plaintext",
            "both TLS and plain",
        ),
    ],
)
def test_what_cannot_connect_is_an_error(look, zookeeper, path, what):
    [problem] = [p for p in look("", zookeeper=zookeeper).problems if p.severity is Severity.ERROR]
    assert problem.key == path
    assert what in problem.what


def test_missing_tls_tells_both_ways_out(look):
    [problem] = look("", zookeeper=servers("host: a", more="\n")).problems
    assert "cert, key and ca" in problem.hint
    assert "zookeeper-plaintext: true" in problem.hint


def test_a_host_with_a_port_is_told_where_the_port_goes(look):
    [problem] = look("", zookeeper=servers("host: 'a:2281'")).problems
    assert "'port'" in problem.hint


def test_a_file_looked_at_on_its_own_may_leave_zookeeper_to_the_secure_file(look):
    examined = look("labels: []", zookeeper="", complete=False, strict=True)
    assert [(p.severity, p.key) for p in examined.problems] == [
        (Severity.WARNING, "zookeeper-servers"),
        (Severity.WARNING, "zookeeper-tls"),
    ]
    assert examined.settings is not None


def test_the_secure_file_completes_the_connection(look):
    secure = "zookeeper-servers: [{host: s, chroot: /s}]\nzookeeper-tls: {cert: /sc, key: /sk, ca: /sa}\n"
    examined = look("labels: []", zookeeper="", secure=secure)
    assert examined.problems == ()
    assert examined.settings.zookeeper.hosts == "s:2281/s"
    assert examined.settings.zookeeper.tls.cert == "/sc"


def test_the_secure_file_replaces_servers_and_tls_entirely(look):
    secure = "zookeeper-servers: [{host: s}]\nzookeeper-tls: {cert: /sc, key: /sk, ca: /sa}\n"
    examined = look("", zookeeper=servers("host: a, chroot: /x", "host: b, chroot: /y"), secure=secure)
    assert "different chroots" not in str(examined.problems)  # of servers that do not count
    assert examined.settings.zookeeper.hosts == "s:2281"
    assert examined.settings.zookeeper.tls.cert == "/sc"


def test_an_empty_list_in_the_secure_file_replaces_nothing(look):
    examined = look("", zookeeper=servers("host: a"), secure="zookeeper-servers: []")
    assert examined.settings.zookeeper.hosts == "a:2281"

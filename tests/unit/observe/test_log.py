"""Where log messages go, and logging files written for Nodepool."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolmgr.errors import ConfigError
from poolmgr.observe import log
from poolmgr.observe.log import STACK_DUMP, MultiLineFormatter, set_up, to_file


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Whatever a test sets up is taken back, pytest's own handlers included."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for each in [root, *root.manager.loggerDict.values()]:
        if isinstance(each, logging.Logger):
            for handler in each.handlers[:]:
                each.removeHandler(handler)
                handler.close()
            each.setLevel(logging.NOTSET)
            each.propagate = True
    root.handlers, root.level = handlers, level


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def set_up_to(stream: io.StringIO, **options) -> None:
    set_up(parse=json.loads, handler=logging.StreamHandler(stream), **options)


def test_a_daemon_tells_its_info_and_only_the_troubles_of_libraries(stream):
    set_up_to(stream)
    logging.getLogger("poolmgr.launcher").info("ours")
    logging.getLogger("poolmgr.launcher").debug("detail")
    logging.getLogger("kazoo.client").info("theirs")
    logging.getLogger("urllib3").warning("trouble")
    lines = stream.getvalue().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "INFO poolmgr.launcher: ours",
        "WARNING urllib3: trouble",
    ]


def test_debug_is_for_our_own_loggers(stream):
    set_up_to(stream, debug=True)
    logging.getLogger("poolmgr.launcher").debug("detail")
    logging.getLogger("kazoo.client").debug("theirs")
    assert "detail" in stream.getvalue()
    assert "theirs" not in stream.getvalue()


def test_a_stack_dump_is_told_at_the_default_level(stream):
    set_up_to(stream)
    logging.getLogger(STACK_DUMP).debug("Thread: 1")
    assert "DEBUG nodepool.stack_dump: Thread: 1" in stream.getvalue()


def test_a_command_keeps_the_store_quiet(stream):
    set_up_to(stream, command=True)
    logging.getLogger("poolmgr.store.zookeeper").info("connected")
    logging.getLogger("poolmgr.cli").info("hello")
    assert "connected" not in stream.getvalue()
    assert "hello" in stream.getvalue()


def test_a_commands_messages_go_to_stderr_and_a_daemons_to_stdout(capsys):
    set_up(parse=json.loads, command=True)
    logging.getLogger("poolmgr").info("for a person")
    set_up(parse=json.loads)
    logging.getLogger("poolmgr").info("for the journal")
    captured = capsys.readouterr()
    assert "for a person" in captured.err
    assert "for the journal" in captured.out


def test_setting_up_twice_does_not_double_messages(stream):
    set_up_to(stream)
    set_up_to(stream)
    logging.getLogger("poolmgr").info("once")
    assert stream.getvalue().count("once") == 1


def test_credentials_are_hidden_by_default_and_with_a_file(stream, tmp_path, capsys):
    set_up_to(stream)
    logging.getLogger("poolmgr").info("password=%s", "hunter2x")
    path = tmp_path / "log.json"
    path.write_text(json.dumps(NODEPOOL_DICT))
    set_up(parse=json.loads, file=str(path))
    logging.getLogger("nodepool").info("password=%s", "hunter2x")
    assert "password=***" in stream.getvalue()
    assert "password=***" in capsys.readouterr().out


def test_every_line_of_a_message_begins_alike():
    formatter = MultiLineFormatter("%(levelname)s %(name)s: %(message)s")
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "two\n%s", ("lines",), sys.exc_info())
    lines = formatter.format(record).split("\n")
    assert lines[:3] == ["ERROR x: two", "ERROR x: lines", "ERROR x: Traceback (most recent call last):"]
    assert lines[-2:] == ["ERROR x: ValueError: bad", "ERROR x: value"]
    assert all(line.startswith("ERROR x: ") for line in lines)
    assert record.getMessage() == "two\nlines"  # other handlers get the record as it was


NODEPOOL_DICT = {
    "version": 1,
    "formatters": {
        "one": {"class": "nodepool.logconfig.MultiLineFormatter", "format": "%(name)s: %(message)s"},
        "two": {"()": "nodepool.logconfig.MultiLineFormatter", "fmt": "%(name)s: %(message)s"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "one", "stream": "ext://sys.stdout"}
    },
    "loggers": {
        "nodepool": {"level": "INFO", "handlers": ["console"]},
        "nodepool.zk": {"level": "ERROR"},
    },
    "root": {"level": "WARNING", "handlers": []},
}

NODEPOOL_INI = """\
[loggers]
keys=root,nodepool,zk

[handlers]
keys=console

[formatters]
keys=simple

[logger_root]
level=WARNING
handlers=

[logger_nodepool]
level=INFO
handlers=console
qualname=nodepool
propagate=0

[logger_zk]
level=ERROR
handlers=
qualname=nodepool.zk

[handler_console]
class=StreamHandler
args=(sys.stdout,)
formatter=simple

[formatter_simple]
class=nodepool.logconfig.MultiLineFormatter
format=%(name)s: %(message)s
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.yaml", json.dumps(NODEPOOL_DICT)),
        ("log.json", json.dumps(NODEPOOL_DICT)),
        ("log.conf", NODEPOOL_INI),
    ],
)
def test_a_file_written_for_nodepool_serves_poolmgr(tmp_path, capsys, name, text):
    early = logging.getLogger("poolmgr.launcher.early")  # exists before the file is read
    path = tmp_path / name
    path.write_text(text)
    set_up(parse=json.loads, file=str(path))
    early.info("two\nlines")
    early.debug("detail")
    logging.getLogger("poolmgr.store.zookeeper").info("connected")
    assert capsys.readouterr().out == "poolmgr.launcher.early: two\npoolmgr.launcher.early: lines\n"


def test_a_file_that_names_poolmgr_means_it(tmp_path, capsys):
    config = {**NODEPOOL_DICT, "loggers": {**NODEPOOL_DICT["loggers"], "poolmgr": {"level": "ERROR"}}}
    path = tmp_path / "log.json"
    path.write_text(json.dumps(config))
    set_up(parse=json.loads, file=str(path))
    logging.getLogger("poolmgr.launcher").info("silent")
    assert capsys.readouterr().out == ""


def test_a_daemons_file_wins_over_debug_and_a_commands_debug_wins_over_the_file(tmp_path, capsys):
    path = tmp_path / "log.json"
    path.write_text(json.dumps(NODEPOOL_DICT))
    set_up(parse=json.loads, file=str(path), debug=True)
    logging.getLogger("poolmgr.launcher").debug("hidden detail")
    set_up(parse=json.loads, file=str(path), debug=True, command=True)
    logging.getLogger("poolmgr.launcher").debug("shown detail")
    captured = capsys.readouterr()
    assert "hidden detail" not in captured.out + captured.err
    assert "shown detail" in captured.err


def test_old_logger_names_stand_for_modules_that_exist():
    root = Path(__file__).parents[3]
    for target in set(log._OLD_LOGGERS.values()) - {"keystoneauth"}:
        place = root / target.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), target


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("log.json", "[]", "mapping"),
        ("log.json", "{", "Expecting"),
        ("log.json", '{"version": 1, "formatters": {"x": null}}', "log.json"),
        ("log.json", '{"version": 1, "handlers": {"x": {"class": "no.such"}}}', "no.such|Cannot resolve|'no'"),
        ("log.json", '{"version": 7}', "version"),
        ("log.conf", "[loggers]\nkeys=root\n", "log.conf"),
        ("log.conf", "no sections", "no section"),
        ("log.conf", NODEPOOL_INI.replace("StreamHandler", "NoSuchHandler"), "NoSuchHandler"),
        ("log.conf", NODEPOOL_INI.replace("sys.stdout", "sys.no"), "sys"),
        ("log.conf", NODEPOOL_INI.replace("(sys.stdout,)", "(("), "log.conf"),
        ("log.conf", NODEPOOL_INI.replace("StreamHandler", "FileHandler").replace("sys.stdout", "'/no/x'"), "/no/x"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_clear_error(tmp_path, name, text, told):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        set_up(parse=json.loads, file=str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_is_told_in_the_words_operators_know(tmp_path):
    path = tmp_path / "none.conf"
    with pytest.raises(ConfigError, match=f"Unable to read logging config file at {path}"):
        set_up(parse=json.loads, file=str(path))


def test_a_rotated_log_file_is_opened_anew(tmp_path):
    path = tmp_path / "nodepool.log"
    set_up(parse=json.loads, handler=to_file(str(path)))
    logging.getLogger("poolmgr").info("before")
    path.rename(tmp_path / "nodepool.log.1")
    logging.getLogger("poolmgr").info("after")
    assert "after" in path.read_text()
    assert "before" not in path.read_text()


def test_a_log_file_that_cannot_be_written_is_the_operators_to_mend(tmp_path):
    with pytest.raises(ConfigError, match="Unable to write log file"):
        to_file(str(tmp_path / "missing" / "nodepool.log"))

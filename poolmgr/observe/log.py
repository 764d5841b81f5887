"""Where log messages go: the defaults of the daemons and of the commands, and an operator's `-l` file (cli-web.md 4).

A file written for Nodepool works: its formatter's name is known here, and what it says of a logger of Nodepool's goes
for the corresponding part of poolmgr too, unless the file names that part itself.
"""

from __future__ import annotations

import configparser
import copy
import io
import logging
import logging.config
import logging.handlers
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from poolmgr.errors import ConfigError
from poolmgr.observe.context import ContextLogger, context_logger
from poolmgr.observe.redaction import Redaction

__all__ = ["ContextLogger", "MultiLineFormatter", "Redaction", "context_logger", "set_up", "to_file"]

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: The logger that stack dumps go to, under the name operators know.
STACK_DUMP = "nodepool.stack_dump"

_OLD_FORMATTERS = {"nodepool.logconfig.MultiLineFormatter": "poolmgr.observe.log.MultiLineFormatter"}
#: Loggers of the reference that a file may name, and what does their work here.
_OLD_LOGGERS = {
    "nodepool": "poolmgr",
    "nodepool.NodePool": "poolmgr.launcher",
    "nodepool.builder": "poolmgr.builder",
    "nodepool.zk": "poolmgr.store",
    "nodepool.CleanupWorker": "poolmgr.launcher.janitor",
    "nodepool.DeletedNodeWorker": "poolmgr.launcher.retirement",
    "nodepool.StatsWorker": "poolmgr.launcher.reporter",
    "nodepool.stats": "poolmgr.observe.stats",
    "nodepool.OpenStackAdapter": "poolmgr.cloud.openstack",
    "nodepool.StateMachineNodeLauncher": "poolmgr.launcher.launches",
    "nodepool.StateMachineNodeDeleter": "poolmgr.launcher.removals",
    "nodepool.driver.static": "poolmgr.launcher.static",
    "nodepool.WebApp": "poolmgr.web",
    "openstack": "keystoneauth",
}
#: Libraries that would drown our own messages.
_TALKATIVE = ("kazoo", "keystoneauth", "requests", "urllib3", "paramiko", "uvicorn", "asyncio")

#: What logging.config lets through from a file: it imports classes and opens files by name, and evaluates arguments.
_UNUSABLE = (
    configparser.Error,
    AttributeError,
    ImportError,
    KeyError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


class MultiLineFormatter(logging.Formatter):
    """Begins every line of a message or traceback as if it were a message of its own, so that `grep` finds it."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        lines = text.split("\n")
        if record.exc_text:
            lines += record.exc_text.split("\n")
        if record.stack_info:
            lines += self.formatStack(record.stack_info).split("\n")
        single = copy.copy(record)
        single.args = single.exc_info = single.exc_text = single.stack_info = None
        return "\n".join(self._format_each(single, lines))

    def _format_each(self, record: logging.LogRecord, lines: list[str]) -> Iterator[str]:
        for line in lines:
            record.msg = line
            yield super().format(record)


def set_up(
    *,
    file: str | None = None,
    parse: Callable[[str], Any],
    debug: bool = False,
    command: bool = False,
    handler: logging.Handler | None = None,
) -> Redaction:
    """Configure logging for this process, replacing what was there; returns the filter that hides credentials.

    - `file` is the `-l` file: a dictionary in YAML or JSON (`.yml`, `.yaml`, `.json`), which `parse` reads (it may
      raise ValueError or ConfigError), else ini style. `~` stands for the home directory.
    - `debug` turns our own INFO into DEBUG. For a `command` it wins over `file`; for a daemon `file` wins.
    - `handler` is where messages go without a file: by default stderr for a `command`, stdout for a daemon.

    Raises ConfigError when the file cannot be read or used.
    """
    if file and not (debug and command):
        _from_file(Path(file).expanduser(), parse)
    else:
        stream: TextIO = sys.stderr if command else sys.stdout
        _by_default(handler or logging.StreamHandler(stream), debug=debug, command=command)
    redaction = Redaction()
    for each in _handlers():
        each.addFilter(redaction)
    return redaction


def to_file(path: str) -> logging.Handler:
    """A handler for a detached daemon. The file is opened anew after it was moved away (rotated).

    Raises ConfigError when it cannot be opened.
    """
    try:
        return logging.handlers.WatchedFileHandler(path)
    except OSError as error:
        raise ConfigError(f"Unable to write log file {path}: {error.strerror}; see -l") from error


def _by_default(handler: logging.Handler, *, debug: bool, command: bool) -> None:
    handler.setFormatter(MultiLineFormatter(FORMAT))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours = logging.DEBUG if debug else logging.INFO
    for name in ("poolmgr", "nodepool"):
        logging.getLogger(name).setLevel(ours)
    # Asked for by a signal, so it must come out whatever the level is.
    logging.getLogger(STACK_DUMP).setLevel(logging.DEBUG)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    if command and not debug:
        logging.getLogger("poolmgr.store").setLevel(logging.WARNING)


def _from_file(path: Path, parse: Callable[[str], Any]) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Unable to read logging config file at {path}") from error
    try:
        if path.suffix in {".yml", ".yaml", ".json"}:
            logging.config.dictConfig(_adopted_dict(parse(text)))
        else:
            logging.config.fileConfig(_adopted_ini(text), disable_existing_loggers=False)
    except _UNUSABLE as error:
        cause = (
            error.__cause__ or error
        )  # logging wraps the telling part in "Unable to configure handler 'x'"
        detail = f"{error}" if cause is error else f"{error}: {cause}"
        raise ConfigError(f"Unable to use logging config file at {path}: {detail}") from error


def _adopted_dict(config: Any) -> dict[str, Any]:
    """`config` for poolmgr: old names mapped, and loggers that exist already kept alive."""
    if not isinstance(config, Mapping):
        raise TypeError("it must be a mapping at the top")
    adopted = {"disable_existing_loggers": False, **config}
    formatters = {
        name: {key: _OLD_FORMATTERS.get(value, value) for key, value in dict(formatter).items()}
        for name, formatter in dict(config.get("formatters") or {}).items()
    }
    loggers = dict(config.get("loggers") or {})
    for old, new in _OLD_LOGGERS.items():
        if old in loggers:
            loggers.setdefault(new, loggers[old])
    return {**adopted, "formatters": formatters, "loggers": loggers}


def _adopted_ini(text: str) -> configparser.RawConfigParser:
    """The same for the ini style. Raises configparser.Error, KeyError."""
    config = configparser.ConfigParser()  # interpolating, as fileConfig does by itself
    config.read_file(io.StringIO(text))
    for name in config.sections():
        section = config[name]
        if name.startswith("formatter_") and section.get("class") in _OLD_FORMATTERS:
            section["class"] = _OLD_FORMATTERS[section["class"]]
    keys = [key.strip() for key in config["loggers"]["keys"].split(",") if key.strip()]
    named = {config[f"logger_{key}"]["qualname"]: key for key in keys if key != "root"}
    for old, new in _OLD_LOGGERS.items():
        if old in named and new not in named:
            keys.append(f"adopted {new}")
            options = dict(config.items(f"logger_{named[old]}", raw=True)) | {"qualname": new}
            config[f"logger_adopted {new}"] = options
    config["loggers"]["keys"] = ",".join(keys)
    return config


def _handlers() -> Iterator[logging.Handler]:
    """Every handler that some logger has."""
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            yield from logger.handlers

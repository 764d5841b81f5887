"""Where clouds.yaml and its companions are, and what they hold (cloud.md 1.1).

A file that exists and cannot be read or parsed is an error; the search never goes on behind it, as it would
end in "no such cloud" for a cloud that is plain to see in the broken file.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from poolmgr.config.document import Document, read_document
from poolmgr.config.problem import Problem, Severity

_SUFFIXES = (".yaml", ".yml", ".json")
_SITE = "/etc/openstack"


@dataclass(frozen=True, kw_only=True)
class CloudFiles:
    """The three files, None where there is none. `searched`: the places where clouds.yaml might have been."""

    clouds: Document | None
    secure: Document | None  # the same shape, kept apart for its secrets
    public: Document | None  # the site's vendor profiles
    searched: tuple[str, ...]
    places: tuple[str, ...]  # where any of the three is or might appear
    home: str
    problems: tuple[Problem, ...] = ()

    def names(self) -> str:
        """The files that say something about a cloud, for messages."""
        return " and ".join(document.file for document in (self.clouds, self.secure) if document)


def find_cloud_files(
    *, paths: Sequence[str] | None, environ: Mapping[str, str], cwd: str | None, strict: bool
) -> CloudFiles:
    """Find and read them. Never raises.

    `paths` are the files that may be clouds.yaml, the first that exists wins, and its companions are looked for
    beside it; None: the usual directories, `cwd` before all others unless it is None. OS_CLIENT_CONFIG_FILE and
    OS_CLIENT_SECURE_FILE go first in either case.
    """
    home = _home(environ)
    directories = list(_directories(environ, home, cwd))
    candidates = list(paths) if paths is not None else list(_in_directories(directories, "clouds"))
    candidates, problems = _with_named(environ, "OS_CLIENT_CONFIG_FILE", candidates, home)
    clouds = _first(candidates, strict)
    if paths is not None:
        directories = [os.path.dirname(os.path.abspath(clouds.file))] if clouds else []
    secrets = list(_in_directories(directories, "secure"))
    secrets, more_problems = _with_named(environ, "OS_CLIENT_SECURE_FILE", secrets, home)
    secure = _first(secrets, strict)
    publics = list(_in_directories(directories, "clouds-public"))
    public = _first(publics, strict)
    found = [document for document in (clouds, secure, public) if document]
    return CloudFiles(
        clouds=clouds,
        secure=secure,
        public=public,
        searched=tuple(candidates),
        places=tuple(dict.fromkeys((*candidates, *secrets, *publics))),
        home=home,
        problems=(*problems, *more_problems, *(p for document in found for p in document.problems)),
    )


def _home(environ: Mapping[str, str]) -> str:
    """Under a snap HOME is a directory of the snap's own."""
    return environ.get("SNAP_REAL_HOME") or environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir


def _directories(environ: Mapping[str, str], home: str, cwd: str | None) -> Iterator[str]:
    if cwd is not None:
        yield cwd
    if environ.get("XDG_CONFIG_HOME"):
        yield os.path.join(environ["XDG_CONFIG_HOME"], "openstack")
    yield os.path.join(home, ".config", "openstack")
    for directory in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        if directory:
            yield os.path.join(directory, "openstack")
    yield _SITE


def _in_directories(directories: Sequence[str], name: str) -> Iterator[str]:
    return (os.path.join(directory, name + suffix) for directory in directories for suffix in _SUFFIXES)


def _with_named(
    environ: Mapping[str, str], variable: str, candidates: list[str], home: str
) -> tuple[list[str], list[Problem]]:
    """`candidates` with the file that the environment names before them."""
    named = environ.get(variable)
    if not named:
        return candidates, []
    path = home + named[1:] if named.startswith("~/") else named
    if os.path.lexists(path):
        return [path, *candidates], []
    what = f"{variable} names this file, and it does not exist"
    return [path, *candidates], [Problem(severity=Severity.WARNING, file=path, what=what)]


def _first(candidates: Sequence[str], strict: bool) -> Document | None:
    """The first file that exists. These files have no %(NODEPOOL_...) variables, so none are replaced."""
    for path in candidates:
        if os.path.lexists(path):
            return read_document(path, environ={}, strict=strict)
    return None

"""Read, check and assemble a configuration: the only way into `Settings`, for `config-validate` and the daemons.

Every finding of every file is reported in one go. A file of the reference's that works there is accepted;
what it let pass and nobody can have meant is a warning, an error when `strict`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from poolmgr.config.assemble import settings_from
from poolmgr.config.document import Document, read_document
from poolmgr.config.problem import Problem, Severity, in_order, refuse_errors
from poolmgr.config.references import (
    Clouds,
    check_builder,
    check_providers_clouds,
    check_references,
    check_use,
)
from poolmgr.config.schema import MAIN, SECURE
from poolmgr.config.settings import Settings
from poolmgr.config.shape import WRONG, Part, Section, Spot
from poolmgr.config.zookeeper import check_zookeeper


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A configuration that can be used, and what should be looked at in it all the same."""

    settings: Settings
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Examined:
    """All that was found, in the order of the file. `settings` is None when one of the problems is an error."""

    settings: Settings | None
    problems: tuple[Problem, ...]


def load(
    path: str,
    *,
    secure: str | None = None,
    environ: Mapping[str, str] = os.environ,
    strict: bool = False,
    clouds: Clouds | None = None,
    complete: bool = True,
    check_clouds: bool = True,
    builder: bool = False,
) -> Loaded:
    """The configuration in the file at `path` with the secure file's additions.

    `clouds` has the regions of each cloud of clouds.yaml; None when there is no such file at hand. `complete`
    False: the file is looked at on its own, ZooKeeper may be in a secure file elsewhere. `check_clouds` False: say
    nothing about clouds, as a daemon that serves the other providers when one of them has none. `builder`: the file is
    a builder's, which needs more of it than a launcher.
    Raises ConfigError with a line for each finding, warnings included, when the configuration cannot be used.
    """
    examined = examine(
        path,
        secure=secure,
        environ=environ,
        strict=strict,
        clouds=clouds,
        complete=complete,
        check_clouds=check_clouds,
        builder=builder,
    )
    refuse_errors(examined.problems)
    assert examined.settings is not None  # there was no error
    return Loaded(settings=examined.settings, warnings=examined.problems)


def examine(
    path: str,
    *,
    secure: str | None = None,
    environ: Mapping[str, str] = os.environ,
    strict: bool = False,
    clouds: Clouds | None = None,
    complete: bool = True,
    check_clouds: bool = True,
    builder: bool = False,
) -> Examined:
    """As `load`, but errors are returned like warnings. Never raises."""
    problems: list[Problem] = []
    main_part = _checked(read_document(path, environ=environ, strict=strict), MAIN, problems)
    secure_part = None
    if secure is not None:
        document = read_document(secure, environ=environ, strict=strict)
        secure_part = _checked(document, SECURE, problems, secret=True)
    if main_part is not None:
        check_zookeeper(main_part, secure_part, complete=complete)
        check_references(main_part, secure_part)
        if builder:
            check_builder(main_part)
        if check_clouds:
            check_providers_clouds(main_part, clouds)
    settings = None
    if main_part is not None and all(p.severity is Severity.WARNING for p in problems):
        check_use(main_part)
        settings = settings_from(main_part, secure_part)
    return Examined(settings=settings, problems=in_order(problems))


def _checked(
    document: Document, section: Section, problems: list[Problem], *, secret: bool = False
) -> Part | None:
    """The document's sections; None when there is nothing to check. An empty secure file is fine."""
    problems.extend(document.problems)
    spot = Spot(document, problems, hidden=secret)
    if document.data is None:
        if secret or document.problems:
            return None
        spot.error(
            "the file is empty", found="", allowed=f"a mapping with the keys {', '.join(section.keys)}"
        )
        return None
    part = section.check(document.data, spot)
    return None if part is WRONG else part

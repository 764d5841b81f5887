"""clouds.yaml: the clouds we may use, as the files of the OpenStack tools describe them (cloud.md section 1).

`load_clouds` reads the files once; `Clouds.get` gives the settings of one cloud and region, `choose` those of the
cloud that somebody at a command line means. A cloud that nobody asks for may be as wrong as it likes: the files are
shared with other tools. No OS_* variable is read besides those that name the files, unless `env` is set, by the
caller or at the top of clouds.yaml.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poolmgr.config.clouds_assemble import Target, assemble
from poolmgr.config.clouds_auth import read_auth
from poolmgr.config.clouds_environ import environment_cloud, environment_document, environment_layer
from poolmgr.config.clouds_files import CloudFiles, find_cloud_files
from poolmgr.config.clouds_layers import Layer, read_layer
from poolmgr.config.clouds_plugins import installed_plugins
from poolmgr.config.clouds_profiles import Profiles, RemoteProfiles
from poolmgr.config.clouds_regions import region_layers, region_of
from poolmgr.config.clouds_top import check_files, check_secrets, read_defaults, read_ours
from poolmgr.config.document import Document, document_of
from poolmgr.config.problem import Problem, Severity, did_you_mean, in_order, refuse_errors
from poolmgr.config.settings import CloudSettings
from poolmgr.config.shape import Spot
from poolmgr.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExaminedCloud:
    """All that was found about one cloud. `settings` is None when one of the problems is an error."""

    settings: CloudSettings | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What a cloud says of itself. `spot` is for what it lacks, `files` are where it may be added."""

    spot: Spot
    layer: Layer
    files: str  # "": it is the environment's


def choose(
    name: str | None = None,
    *,
    region: str | None = None,
    env: bool = False,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    paths: Sequence[str] | None = None,
    lasting: bool = False,
    remote: RemoteProfiles | None = None,
) -> CloudSettings:
    """The settings of the cloud that is meant, for library and command-line use; daemons use `load_clouds`.

    The files are looked for in the working directory, ~/.config/openstack and /etc/openstack, or are `paths`.
    `name` None: with `env` OS_CLOUD, else the cloud that the OS_* variables describe; else the only one in the file.
    `region` None: the cloud's default; with `env` and no `name`, OS_REGION_NAME. `env` also makes the cloud that the
    OS_* variables describe known, as "envvars" or $OS_CLOUD_NAME; they never change a cloud of the files.

    `overrides` are keys of a cloud as in clouds.yaml (1.5) and win over all files; of `auth` only those given. None
    as a value says nothing. `environ` None: this process's. `lasting` refuses logins that end with their token, for
    programs that run longer. `remote` asks vendors for profiles, if the files allow it.

    Warnings are logged. Raises ConfigError with a line for each finding.
    """
    environ = os.environ if environ is None else environ
    clouds = load_clouds(
        paths=paths, environ=environ, cwd=os.getcwd(), env=env, lasting=lasting, remote=remote
    )
    for warning in clouds.warnings:
        log.warning("%s", warning)
    name, region = clouds.chosen(name, region)
    return clouds.get(name, region, overrides=overrides)


def load_clouds(
    *,
    paths: Sequence[str] | None = None,
    environ: Mapping[str, str],
    cwd: str | None = None,
    strict: bool = False,
    plugins: Collection[str] | None = None,
    env: bool = False,
    lasting: bool = True,
    remote: RemoteProfiles | None = None,
) -> Clouds:
    """The clouds of the first clouds.yaml there is, with its secure.yaml and clouds-public.yaml.

    `paths` are the files that may be it; None: those in the usual places, of which `cwd` is the first unless it is
    None. `plugins` are the names of authentication plugins, None: those installed. `env`, `lasting` and `remote` as
    in `choose`. No file at all is no error here: `Clouds.file` is None. Raises ConfigError for files that cannot be
    read.
    """
    files = find_cloud_files(paths=paths, environ=environ, cwd=cwd, strict=strict)
    problems = [*files.problems]
    check_files(files, problems)
    refuse_errors(problems)
    ours = read_ours(files, problems)
    check_secrets(files, problems)
    environment = environment_document(environ, strict=strict) if env or ours.env else None
    _refuse_same_name(files, environment, problems)
    refuse_errors(problems)
    if plugins is None:
        plugins = installed_plugins()
    return Clouds(
        files,
        environ=environ,
        environment=environment,
        profiles=Profiles(files.public, remote=remote if ours.remote_profiles else None),
        plugins=plugins,
        lasting=lasting,
        warnings=in_order(problems),
    )


class Clouds:
    """The clouds of one set of files. `warnings` are about the files as wholes."""

    def __init__(
        self,
        files: CloudFiles,
        *,
        environ: Mapping[str, str],
        environment: Document | None,
        profiles: Profiles,
        plugins: Collection[str],
        lasting: bool,
        warnings: tuple[Problem, ...],
    ) -> None:
        self.warnings = warnings
        self._files = files
        self._environ = environ
        self._environment = environment  # None: OS_* variables are not read
        self._from_environment = environment_cloud(environment) if environment else None
        self._profiles = profiles
        self._plugins = plugins
        self._lasting = lasting
        self._told: set[Problem] = set()  # warnings that were logged

    @property
    def file(self) -> str | None:
        """The clouds.yaml that was read; None when there is none."""
        return self._files.clouds.file if self._files.clouds else None

    @property
    def places(self) -> tuple[str, ...]:
        """Every file that says something of clouds, or would if it existed: what to watch for changes."""
        return self._files.places

    def names(self) -> tuple[str, ...]:
        """All clouds, in the order of the file; the one that the environment describes comes last."""
        names = [name for spot in self._sections([]) for name in spot.value]
        return tuple(dict.fromkeys([*names, *([self._from_environment] if self._from_environment else [])]))

    def chosen(self, name: str | None, region: str | None) -> tuple[str, str | None]:
        """The cloud and the region that are meant by those who may have left one or both open (1.3).

        Raises ConfigError when several clouds might be.
        """
        if name is not None:
            return name, region
        said = self._environment.data if self._environment else {}
        region = said.get("OS_REGION_NAME") if region is None else region
        names = self.names()
        name = said.get("OS_CLOUD") or self._from_environment or (names[0] if len(names) == 1 else None)
        if name is None:
            raise ConfigError(
                f"which cloud? {self.file} has {', '.join(names) or 'none at all'}"
                if self.file
                else self._no_file()
            )
        return name, region

    def regions(self, name: str) -> tuple[str, ...]:
        """The regions that are known of a cloud, the default first; () when none are.

        Raises ConfigError when there is no such cloud.
        """
        own = self._entry(name, []).layer
        return tuple(region_layers(own, self._profile(own, [])))

    def all_regions(self) -> Mapping[str, tuple[str, ...]]:
        """`regions` by cloud, as `load` takes it to check providers."""
        return {name: self.regions(name) for name in self.names()}

    def get(
        self, name: str, region: str | None = None, *, overrides: Mapping[str, Any] | None = None
    ) -> CloudSettings:
        """The settings of one cloud in `region`; None is its default one. `overrides` as in `examine`.

        Warnings are logged, each once. Raises ConfigError with a line for each finding when they cannot be used, or
        there is no such cloud.
        """
        examined = self.examine(name, region, overrides=overrides)
        refuse_errors(examined.problems)
        for warning in examined.problems:
            if warning not in self._told:
                log.warning("%s", warning)
        self._told.update(examined.problems)
        assert examined.settings is not None  # there was no error
        return examined.settings

    def examine(
        self, name: str, region: str | None = None, *, overrides: Mapping[str, Any] | None = None
    ) -> ExaminedCloud:
        """As `get`, but findings are returned. `overrides` are keys of a cloud that win over all files.

        Raises ConfigError when there is no such cloud.
        """
        problems: list[Problem] = []
        entry = self._entry(name, problems)
        arguments = _arguments(overrides or {}, problems)
        profile = self._profile(entry.layer.under(arguments, nulls_cover=False), problems)
        complete = not _has_errors(problems)
        target = region_of(
            entry.layer, profile, asked=region, asked_by=self._asked_by(region), entry=entry.spot
        )
        layer = profile.under(entry.layer)
        for above in (target.values, arguments):
            layer = layer.under(above, nulls_cover=False)
        auth = read_auth(
            layer,
            entry=entry.spot,
            files=entry.files,
            plugins=self._plugins,
            lasting=self._lasting,
            complete=complete,
        )
        settings = assemble(
            Target(name=name, region=target, home=self._files.home, environ=self._environ),
            layer,
            auth,
            read_defaults(self._files, self._environment, problems),
        )
        return ExaminedCloud(
            settings=None if _has_errors(problems) else settings, problems=in_order(problems)
        )

    def _asked_by(self, region: str | None) -> str:
        """Who asks for `region`: the caller, if not OS_REGION_NAME."""
        variable = self._environment.data.get("OS_REGION_NAME") if self._environment else None
        return "environment OS_REGION_NAME" if variable == region else "argument"

    def _sections(self, problems: list[Problem]) -> list[Spot]:
        """The places of `clouds` in clouds.yaml and secure.yaml, those that exist."""
        files = ((self._files.clouds, False), (self._files.secure, True))
        spots = (
            Spot(document, problems, ("clouds",), hidden=hidden) for document, hidden in files if document
        )
        return [spot for spot in spots if spot.value]

    def _entry(self, name: str, problems: list[Problem]) -> _Entry:
        """What is said of one cloud. Raises ConfigError when there is none of this name."""
        if self._environment is not None and name == self._from_environment:
            spot = Spot(self._environment, problems, hidden=True)
            layer = environment_layer(self._environment, problems)
            return _Entry(spot=spot, layer=layer, files="")
        spots = [spot.step(name) for spot in self._sections(problems) if name in spot.value]
        if spots:
            layer = Layer()
            for spot in spots:
                layer = layer.merged_with(read_layer(spot))
            return _Entry(spot=spots[0], layer=layer, files=self._files.names())
        if self.file is None:
            raise ConfigError(f"cloud {name!r} is not known: {self._no_file()}")
        hint = did_you_mean(name, self.names())
        raise ConfigError(
            f"{self.file} has no cloud {name!r}; {hint + ' ' if hint else ''}"
            f"it has {', '.join(self.names()) or 'none at all'}"
        )

    def _no_file(self) -> str:
        return f"there is no clouds.yaml; looked for {', '.join(self._files.searched)}"

    def _profile(self, own: Layer, problems: list[Problem]) -> Layer:
        """The vendor profile that a cloud names."""
        given = own.keys.get("profile")
        return Layer() if given is None or given.value is None else self._profiles.layer(given, problems)


def _has_errors(problems: Sequence[Problem]) -> bool:
    return any(problem.severity is Severity.ERROR for problem in problems)


def _arguments(overrides: Mapping[str, Any], problems: list[Problem]) -> Layer:
    document = document_of(overrides, origin="argument")
    return read_layer(Spot(document, problems))


def _refuse_same_name(files: CloudFiles, environment: Document | None, problems: list[Problem]) -> None:
    """A cloud of the environment never covers one of the file in silence."""
    name = environment_cloud(environment) if environment else None
    for document in (files.clouds, files.secure):
        if document is not None and name in ((document.data or {}).get("clouds") or {}):
            Spot(document, problems, ("clouds", name)).error(
                "the OS_* variables describe a cloud of this name too",
                found="",
                hint="name that one with OS_CLOUD_NAME, or unset them",
                key=True,
            )

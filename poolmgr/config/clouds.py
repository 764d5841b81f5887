"""clouds.yaml: the clouds we may use, as the files of the OpenStack tools describe them (cloud.md section 1).

`load_clouds` reads the files once; `Clouds.get` gives the settings of one cloud and region. A cloud that nobody
asks for may be as wrong as it likes: the files are shared with other tools. No OS_* variable is read besides
those that name the files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from poolmgr.config.clouds_assemble import Target, assemble
from poolmgr.config.clouds_auth import read_auth
from poolmgr.config.clouds_files import CloudFiles, find_cloud_files
from poolmgr.config.clouds_layers import Given, Layer, read_layer, region_layers
from poolmgr.config.document import Document
from poolmgr.config.problem import Problem, Severity, did_you_mean, in_order, refuse_errors
from poolmgr.config.settings import CloudSettings
from poolmgr.config.shape import Spot, quoting_hint
from poolmgr.errors import ConfigError

_TOP_KEYS = ("cache", "client", "metrics")
_PROFILE_KEYS = ("name", "status", "message", "profile")


@dataclass(frozen=True, kw_only=True)
class ExaminedCloud:
    """All that was found about one cloud. `settings` is None when one of the problems is an error."""

    settings: CloudSettings | None
    problems: tuple[Problem, ...]


def load_clouds(
    *,
    paths: Sequence[str] | None = None,
    environ: Mapping[str, str],
    cwd: str | None = None,
    strict: bool = False,
    plugins: Collection[str] | None = None,
) -> Clouds:
    """The clouds of the first clouds.yaml there is, with its secure.yaml and clouds-public.yaml.

    `paths` are the files that may be it; None: those in the usual places, of which `cwd` is the first unless it is
    None. `plugins` are the names of authentication plugins, None: those installed. No file at all is no error here:
    `Clouds.file` is None. Raises ConfigError for files that cannot be read.
    """
    files = find_cloud_files(paths=paths, environ=environ, cwd=cwd, strict=strict)
    problems = [*files.problems]
    for document, key in (
        (files.clouds, "clouds"),
        (files.secure, "clouds"),
        (files.public, "public-clouds"),
    ):
        if document is not None:
            _check_top(document, key, problems)
    refuse_errors(problems)
    _check_secure(files, problems)
    if plugins is None:
        plugins = {point.name for point in entry_points(group="keystoneauth1.plugin")}
    return Clouds(files, environ=environ, plugins=plugins, warnings=in_order(problems))


class Clouds:
    """The clouds of one set of files. `warnings` are about the files as wholes."""

    def __init__(
        self,
        files: CloudFiles,
        *,
        environ: Mapping[str, str],
        plugins: Collection[str],
        warnings: tuple[Problem, ...],
    ) -> None:
        self.warnings = warnings
        self._files = files
        self._environ = environ
        self._plugins = plugins

    @property
    def file(self) -> str | None:
        """The clouds.yaml that was read; None when there is none."""
        return self._files.clouds.file if self._files.clouds else None

    def names(self) -> tuple[str, ...]:
        """All clouds, in the order of the file."""
        return tuple(dict.fromkeys(name for spot in self._sections([]) for name in spot.value))

    def regions(self, name: str) -> tuple[str, ...]:
        """The regions the files list for a cloud, the default first; () when they list none.

        Raises ConfigError when there is no such cloud.
        """
        return tuple(region_layers(self._cloud(name, [])))

    def all_regions(self) -> Mapping[str, tuple[str, ...]]:
        """`regions` by cloud, as `load` takes it to check providers."""
        return {name: self.regions(name) for name in self.names()}

    def get(self, name: str, region: str | None = None) -> CloudSettings:
        """The settings of one cloud in `region`; None is its default one.

        Raises ConfigError with a line for each finding when they cannot be used, or there is no such cloud.
        """
        examined = self.examine(name, region)
        refuse_errors(examined.problems)
        assert examined.settings is not None  # there was no error
        return examined.settings

    def examine(self, name: str, region: str | None = None) -> ExaminedCloud:
        """As `get`, but findings are returned. Raises ConfigError when there is no such cloud."""
        problems: list[Problem] = []
        cloud = self._cloud(name, problems)
        entry = self._entries(name, problems)[0]
        regions = region_layers(cloud)
        region = next(iter(regions), None) if region is None else region
        if regions and region not in regions:
            hint = did_you_mean(region, regions) or "names are case-sensitive"
            entry.error(f"it has no region {region!r}", found="", allowed=", ".join(regions), hint=hint)
        layer = cloud.under(regions.get(region or "", Layer()), nulls_cover=False)
        auth = read_auth(layer, entry=entry, files=self._files.names(), plugins=self._plugins)
        target = Target(
            name=name, region=region, regions=tuple(regions), home=self._files.home, environ=self._environ
        )
        settings = assemble(target, layer, auth, self._defaults(problems))
        usable = not any(problem.severity is Severity.ERROR for problem in problems)
        return ExaminedCloud(settings=settings if usable else None, problems=in_order(problems))

    def _sections(self, problems: list[Problem]) -> list[Spot]:
        """The places of `clouds` in clouds.yaml and secure.yaml, those that exist."""
        files = ((self._files.clouds, False), (self._files.secure, True))
        spots = (
            Spot(document, problems, ("clouds",), hidden=hidden) for document, hidden in files if document
        )
        return [spot for spot in spots if spot.value]

    def _entries(self, name: str, problems: list[Problem]) -> list[Spot]:
        """The places of one cloud, at least one. Raises ConfigError when there is none."""
        spots = [spot.step(name) for spot in self._sections(problems) if name in spot.value]
        if spots:
            return spots
        if self.file is None:
            raise ConfigError(
                f"cloud {name!r} is not known, as there is no clouds.yaml; "
                f"looked for {', '.join(self._files.searched)}"
            )
        hint = did_you_mean(name, self.names())
        raise ConfigError(
            f"{self.file} has no cloud {name!r}; {hint + ' ' if hint else ''}"
            f"it has {', '.join(self.names()) or 'none at all'}"
        )

    def _cloud(self, name: str, problems: list[Problem]) -> Layer:
        """The cloud's own entry over the profile it names."""
        own = Layer()
        for spot in self._entries(name, problems):
            own = own.merged_with(read_layer(spot))
        return self._profile(own, problems).under(own)

    def _profile(self, own: Layer, problems: list[Problem]) -> Layer:
        given = own.keys.get("profile")
        if given is None or given.value is None:
            return Layer()
        public = self._files.public
        known = (public.data or {}).get("public-clouds") or {} if public else {}
        if public is None or not isinstance(given.value, str) or given.value not in known:
            given.spot.error(
                "vendor profiles are not supported yet, only those of a site's own clouds-public.yaml",
                allowed=", ".join(known) or "no profile",
                hint=did_you_mean(given.value, known)
                or "write what it stands for: auth.auth_url, region_name, image_format, floating_ip_source",
            )
            return Layer()
        spot = Spot(public, problems, ("public-clouds", given.value))
        profile = read_layer(spot, inherited=True)
        _check_status(profile, given.spot)
        keys = {key: value for key, value in profile.keys.items() if key not in _PROFILE_KEYS}
        return Layer(keys=keys, auth=profile.auth)

    def _defaults(self, problems: list[Problem]) -> Layer:
        """What clouds.yaml says of all clouds."""
        if self._files.clouds is None:
            return Layer()
        top = Spot(self._files.clouds, problems)
        spots = {
            "force_ipv4": top.step("client", "force_ipv4"),
            "metrics": top.step("metrics"),
            "cache": top.step("cache"),
        }
        return Layer(
            keys={
                key: Given(value=spot.value, spot=spot)
                for key, spot in spots.items()
                if spot.value is not None
            }
        )


def _check_status(profile: Layer, used: Spot) -> None:
    """A vendor's cloud may be at its end, which its profile then says."""
    status, message = (profile.keys.get(key) for key in ("status", "message"))
    words = str(message.value) if message and message.value else "its profile does not say why"
    if status and status.value == "shutdown":
        used.error("this cloud is gone", hint=words)
    elif status and status.value == "deprecated":
        used.warning("this cloud is about to go", hint=words)


def _check_secure(files: CloudFiles, problems: list[Problem]) -> None:
    """Secrets for a cloud of another name are mostly a misspelling."""
    clouds, secret = (
        (document.data or {}).get("clouds") or {} if document else {}
        for document in (files.clouds, files.secure)
    )
    for name in secret:
        if files.secure is not None and name not in clouds:
            spot = Spot(files.secure, problems, ("clouds", name), hidden=True)
            spot.doubt("no other file has this cloud", found="", hint=did_you_mean(name, clouds), key=True)


def _check_top(document: Document, section: str, problems: list[Problem]) -> None:
    """The keys of a file as a whole. Afterwards `section` is a mapping with texts as keys, or an error is reported."""
    top = Spot(document, problems)
    if document.data is None:
        return  # empty, or reported with the file
    if not isinstance(document.data, dict):
        top.error("not a mapping", allowed=f"a mapping with the key {section!r}")
        return
    for key in document.data.keys() - {section, *_TOP_KEYS}:
        if hint := did_you_mean(key, (section, *_TOP_KEYS)):  # others may hold anchors
            top.step(key).doubt("unknown key", found="", hint=hint, key=True)
    clouds = top.step(section)
    if clouds.value is not None and not isinstance(clouds.value, dict):
        clouds.error("not a mapping", allowed="a mapping of clouds by name")
        return
    for name in clouds.value or {}:
        if not isinstance(name, str):
            clouds.step(name).error("the name is no text", found="", hint=quoting_hint(name), key=True)
    cache = top.step("cache").value
    if isinstance(cache, dict) and cache.keys() - {"expiration"}:
        top.step("cache").warning(
            "only 'expiration' of server, port and floating-ip means something here", found="", key=True
        )

"""Which keystoneauth plugin logs in to a cloud, and with what (cloud.md 1.4).

Of plugins that are not in the table of `clouds_plugins` only the name is checked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from poolmgr.config.clouds_layers import Given, Layer, hidden
from poolmgr.config.clouds_plugins import (
    ALIASES,
    NUMBERS,
    OLD_NAMES,
    OPTIONS,
    OR_ID,
    PLUGINS,
    PROJECT,
    SCOPE,
    Plugin,
    how_to_install,
    with_methods,
)
from poolmgr.config.clouds_values import secret_text
from poolmgr.config.problem import did_you_mean, kind
from poolmgr.config.shape import Spot

#: Given beside `auth`, these win over the same keys in it; all other options in `auth` win (the reference's rule).
_WINNING = PROJECT | {
    "domain_id",
    "domain_name",
    "user_domain_id",
    "user_domain_name",
    "token",
    "passcode",
}


@dataclass(frozen=True, kw_only=True)
class Auth:
    """A plugin's name and its options by their current names, `project_id` for plugins of version 2 as well."""

    type: str
    options: Mapping[str, Given]


def read_auth(
    layer: Layer,
    *,
    entry: Spot,
    files: str,
    plugins: Collection[str],
    lasting: bool = True,
    complete: bool = True,
) -> Auth:
    """How to log in, as the merged `layer` says; everything wrong is reported.

    `entry` is the cloud's place, `files` names those that were read for it ("": it is the environment), `plugins` are
    the installed ones. `lasting`: what cannot log in again is refused, unless the cloud allows it. `complete` False: a
    part of `layer` could not be had, so that nothing is told to be missing.
    """
    name = _plugin_name(layer.keys.get("auth_type"), plugins)
    options = _together(layer, OLD_NAMES.get(name, {}))
    given = {key: option for key, option in _scoped(name, options).items() if option.value is not None}
    plugin = PLUGINS.get(name)
    if name == "v3multifactor":
        plugin = with_methods(_methods(given))
    if plugin is not None:
        given = {key: option for key, option in given.items() if _is_known(key, option, name, plugin)}
        if complete:
            _check_needs(name, plugin, given, entry, files)
        if plugin.needs_certificate and "cert" not in layer.keys:
            entry.error(f"auth_type {name} needs 'cert', the certificate that says who we are", found="")
        if lasting and not plugin.renewable and not _is_allowed(layer):
            _refuse_unrenewable(name, entry)
    if name == "v3applicationcredential":
        _refuse_scope(given)
    good = {key: _as_wanted(key, option) for key, option in given.items() if _is_good(key, option, plugin)}
    return Auth(type=name, options=good)


def _plugin_name(given: Given | None, plugins: Collection[str]) -> str:
    if given is None:
        return "password"
    name = "" if given.value is None else str(given.value)
    name = ALIASES.get(name.lower(), name)
    if name not in plugins:
        given.spot.error(
            "no such authentication plugin is installed",
            allowed=", ".join(sorted(plugins)),
            hint=how_to_install(name) or did_you_mean(name, plugins),
        )
    return name


def _together(layer: Layer, old: Mapping[str, str]) -> dict[str, Given]:
    """The options in `auth` and those beside it. `old` are old names of this plugin's."""
    within = {old.get(key, key): option for key, option in layer.auth.items()}
    beside = {
        old.get(key, key): hidden(key, given)
        for key, given in layer.keys.items()
        if (key in OPTIONS or key in old) and given.value is not None
    }
    winning = {key: given for key, given in beside.items() if key in _WINNING}
    return {**beside, **within, **winning}


def _methods(given: dict[str, Given]) -> list[str]:
    """The methods of v3multifactor, put into `given` as the list they have to be."""
    option = given.get("auth_methods")
    if option is None:
        return []
    methods = option.value.split(",") if isinstance(option.value, str) else option.value
    if not isinstance(methods, list) or not all(isinstance(method, str) for method in methods):
        option.spot.error("wrong value", allowed="a list of plugins, like [v3password, v3totp]")
        return []
    methods = [method.strip() for method in methods]
    for method in methods:
        if method not in PLUGINS or method == "v3multifactor" or not method.startswith("v3"):
            option.spot.error(f"{method!r} is no method", allowed="plugins like v3password and v3totp")
    given["auth_methods"] = replace(option, value=methods)
    return methods


def _scoped(name: str, options: Mapping[str, Given]) -> dict[str, Given]:
    """`options` with the shorthands `domain_id` and `domain_name` spread out, if there is a project they can mean.

    An application credential has the scope it was made with, so what a profile or the environment say of one is
    dropped.
    """
    if name == "v3applicationcredential":
        return {k: v for k, v in options.items() if not (v.inherited and k in SCOPE)}
    if not _has(options, "project_id", "project_name"):
        return dict(options)
    spread = dict(options)
    for by in ("id", "name"):
        shorthand = spread.pop(f"domain_{by}", None)
        for of in ("user_domain", "project_domain"):
            if shorthand is not None and not _has(spread, f"{of}_id", f"{of}_name"):
                spread[f"{of}_{by}"] = shorthand
    return spread


def _has(options: Mapping[str, Given], *keys: str) -> bool:
    """Whether one of `keys` is given."""
    return any(key in options and options[key].value not in (None, "") for key in keys)


def _is_good(key: str, option: Given, plugin: Plugin | None) -> bool:
    """Options are texts. An id that YAML read as a number may have lost zeros or changed its base."""
    is_number = isinstance(option.value, (int, float)) and not isinstance(option.value, bool)
    if isinstance(option.value, str) or (plugin is None and not is_number):
        return True
    if key == "auth_methods" or (key in NUMBERS and is_number):
        return True
    option.spot.error(
        "not a text", found=kind(option.value), allowed="a text", hint=secret_text(option.value)
    )
    return False


def _as_wanted(key: str, option: Given) -> Given:
    """A number that the environment or quotes made a text of is a number."""
    if key not in NUMBERS or not str(option.value).isdigit():
        return option
    return replace(option, value=int(option.value))


def _is_known(key: str, option: Given, name: str, plugin: Plugin) -> bool:
    if key in plugin.options:
        return True
    if key in OPTIONS:
        return False  # of another plugin: one set of options may serve several
    option.spot.doubt(
        f"auth_type {name} has no such option",
        found="",
        allowed=", ".join(sorted(plugin.options)),
        hint=did_you_mean(key, plugin.options),
        key=True,
    )
    return False


def _check_needs(name: str, plugin: Plugin, given: Mapping[str, Given], entry: Spot, files: str) -> None:
    needs = list(plugin.needs)
    if name == "v3applicationcredential" and not _has(given, "application_credential_id"):
        needs.append(OR_ID)  # names of credentials are a user's own
    auth_url = str(given["auth_url"].value) if "auth_url" in given else ""
    if plugin.v3_only or auth_url.rstrip("/").endswith("/v3"):
        needs += _domains(plugin, given)
    for group in needs:
        if not _has(given, *group):
            entry.step("auth").error(
                f"{' or '.join(group)} is missing",
                found="",
                allowed=f"auth_type {name} needs it",
                hint=f"it is neither there nor beside auth in {files}"
                if files
                else f"set {_variables(group)}",
            )


def _variables(options: tuple[str, ...]) -> str:
    return " or ".join(f"OS_{option.upper()}" for option in options)


def _domains(plugin: Plugin, given: Mapping[str, Given]) -> list[tuple[str, ...]]:
    """In Identity 3 names are unique in a domain only. Users of a federation are in none."""
    needs: list[tuple[str, ...]] = []
    for who, name in (("user_domain", "username"), ("project_domain", "project_name")):
        told = (f"{who.removesuffix('_domain')}_id", "default_domain_id", "default_domain_name")
        if f"{who}_id" in plugin.options and _has(given, name) and not _has(given, *told):
            needs.append((f"{who}_id", f"{who}_name"))
    return needs


def _refuse_unrenewable(name: str, entry: Spot) -> None:
    entry.error(
        f"auth_type {name} cannot renew its token: poolmgr would stop when it expires",
        found="",
        allowed="an application credential or a password",
        hint="set allow_unrenewable_auth: true to use it all the same",
    )


def _refuse_scope(given: Mapping[str, Given]) -> None:
    for key in sorted(SCOPE & given.keys()):
        given[key].spot.error(
            "an application credential has a scope of its own, Identity refuses another",
            hint="remove this key",
            key=True,
        )


def _is_allowed(layer: Layer) -> bool:
    given = layer.keys.get("allow_unrenewable_auth")
    return given is not None and given.value in (True, "true")

"""Which keystoneauth plugin logs in to a cloud, and with what (cloud.md 1.4).

keystoneauth itself is not asked: a file must be checked where it is not installed as well, and its loaders let
a missing password pass until the first call. Of plugins not in the table only the name is checked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from poolmgr.config.clouds_keys import secret_text
from poolmgr.config.clouds_layers import Given, Layer, hidden
from poolmgr.config.problem import did_you_mean, kind
from poolmgr.config.shape import Spot

_PROJECT = frozenset({"project_id", "project_name", "project_domain_id", "project_domain_name"})
_SCOPE = _PROJECT | {"domain_id", "domain_name", "system_scope", "trust_id"}
_USER = frozenset({"user_id", "username", "user_domain_id", "user_domain_name", "password"})
_DEFAULT_DOMAIN = frozenset({"default_domain_id", "default_domain_name"})
_OIDC = _SCOPE | {
    "auth_url",
    "identity_provider",
    "protocol",
    "client_id",
    "client_secret",
    "scope",
    "access_token_endpoint",
    "discovery_endpoint",
    "access_token_type",
}

#: Given beside `auth`, these win over the same keys in it; all other options in `auth` win (the reference's rule).
_WINNING = _PROJECT | {
    "domain_id",
    "domain_name",
    "user_domain_id",
    "user_domain_name",
    "token",
    "passcode",
}

_OR_ID = ("username", "user_id")
_OIDC_NEEDS = (
    ("auth_url",),
    ("identity_provider",),
    ("protocol",),
    ("client_id",),
    ("discovery_endpoint", "access_token_endpoint"),
)
_NEEDS_PROJECT = ("project_id", "project_name", "system_scope", "trust_id")


@dataclass(frozen=True, kw_only=True)
class _Plugin:
    """`needs`: of each group one must be given."""

    options: frozenset[str]
    needs: tuple[tuple[str, ...], ...] = ()
    v3_only: bool = True  # names need domains; False where version 2 will do, and without an Identity service


_V3_PASSWORD = _Plugin(
    options=_SCOPE | _USER | {"auth_url"},
    needs=(("auth_url",), _OR_ID, ("password",), _NEEDS_PROJECT),
)
_TOKEN = _Plugin(
    options=_SCOPE | _DEFAULT_DOMAIN | {"auth_url", "token"},
    needs=(("auth_url",), ("token",), _NEEDS_PROJECT),
    v3_only=False,
)

#: Options and requirements as of keystoneauth1 5.18, by its names of plugins.
_PLUGINS: Mapping[str, _Plugin] = {
    "password": _Plugin(
        options=_V3_PASSWORD.options | _DEFAULT_DOMAIN, needs=_V3_PASSWORD.needs, v3_only=False
    ),
    "v3password": _V3_PASSWORD,
    "v2password": _Plugin(
        options=frozenset({"auth_url", "project_id", "project_name", "trust_id", "password", *_OR_ID}),
        needs=(("auth_url",), _OR_ID, ("password",), ("project_id", "project_name", "trust_id")),
        v3_only=False,
    ),
    "v3applicationcredential": _Plugin(
        options=_SCOPE
        | (_USER - {"password"})
        | {
            "auth_url",
            "application_credential_id",
            "application_credential_name",
            "application_credential_secret",
        },
        needs=(
            ("auth_url",),
            ("application_credential_id", "application_credential_name"),
            ("application_credential_secret",),
        ),
    ),
    "v3oidcpassword": _Plugin(
        options=_OIDC | {"username", "password", "idp_otp_key"},
        needs=(*_OIDC_NEEDS, ("username",), ("password",), _NEEDS_PROJECT),
    ),
    "v3oidcclientcredentials": _Plugin(
        options=_OIDC, needs=(*_OIDC_NEEDS, ("client_secret",), _NEEDS_PROJECT)
    ),
    "v3oauth2clientcredential": _Plugin(
        options=_SCOPE | {"auth_url", "oauth2_endpoint", "oauth2_client_id", "oauth2_client_secret"},
        needs=(("auth_url",), ("oauth2_endpoint",), ("oauth2_client_id",), ("oauth2_client_secret",)),
    ),
    "none": _Plugin(options=frozenset({"endpoint"}), v3_only=False),
    "http_basic": _Plugin(
        options=frozenset({"username", "password", "endpoint"}),
        needs=(("username",), ("password",)),
        v3_only=False,
    ),
    "admin_token": _Plugin(
        options=frozenset({"endpoint", "token"}), needs=(("endpoint",), ("token",)), v3_only=False
    ),
    "token": _TOKEN,
    "v3token": _TOKEN,
    "v2token": _TOKEN,
}

_UNRENEWABLE = frozenset(
    {
        "v3totp",
        "token",
        "v3token",
        "v2token",
        "v3websso",
        "v3oidcauthcode",
        "v3oidcdeviceauthz",
        "v3oidcaccesstoken",
    }
)

_ALIASES = {"": "none", "none": "none", "token_endpoint": "admin_token"}

#: Every option of every plugin of the table: the keys that may also stand beside `auth`.
OPTIONS = frozenset(option for plugin in _PLUGINS.values() for option in plugin.options) | {
    "passcode",
    "auth_methods",
}


@dataclass(frozen=True, kw_only=True)
class Auth:
    """A plugin's name and its options by their current names."""

    type: str
    options: Mapping[str, Given]


def read_auth(
    layer: Layer, *, entry: Spot, files: str, plugins: Collection[str], lasting: bool = True
) -> Auth:
    """How to log in, as the merged `layer` says; everything wrong is reported.

    `entry` is the cloud's place, `files` names those that were read for it, `plugins` are the installed ones.
    `lasting`: what cannot log in again is refused, unless the cloud allows it.
    """
    name = _plugin_name(layer.keys.get("auth_type"), plugins)
    plugin = _PLUGINS.get(name)
    given = {k: v for k, v in _scoped(name, _together(layer)).items() if v.value is not None}
    if plugin is not None:
        given = {k: v for k, v in given.items() if _is_known(k, v, name, plugin)}
        _check_needs(name, plugin, given, entry, files)
    if name == "v3applicationcredential":
        _refuse_scope(given)
    if lasting and not _is_renewable(name, given) and not _is_allowed(layer):
        entry.error(
            f"auth_type {name} cannot renew its token: poolmgr would stop when it expires",
            found="",
            allowed="an application credential or a password",
            hint="set allow_unrenewable_auth: true to use it all the same",
        )
    return Auth(type=name, options={k: v for k, v in given.items() if _is_good(v, plugin)})


def _plugin_name(given: Given | None, plugins: Collection[str]) -> str:
    if given is None:
        return "password"
    name = "" if given.value is None else str(given.value)
    name = _ALIASES.get(name.lower(), name)
    if name not in plugins:
        given.spot.error(
            "no such authentication plugin is installed",
            allowed=", ".join(sorted(plugins)),
            hint=did_you_mean(name, plugins),
        )
    return name


def _together(layer: Layer) -> dict[str, Given]:
    """The options in `auth` and those beside it."""
    beside = {key: hidden(key, given) for key, given in layer.keys.items() if key in OPTIONS}
    beside = {key: given for key, given in beside.items() if given.value is not None}
    winning = {key: given for key, given in beside.items() if key in _WINNING}
    return {**beside, **layer.auth, **winning}


def _scoped(name: str, options: Mapping[str, Given]) -> dict[str, Given]:
    """`options` with the shorthands `domain_id` and `domain_name` spread out, if there is a project they can mean.

    An application credential has the scope it was made with, so what a profile says of one is dropped.
    """
    if name == "v3applicationcredential":
        return {k: v for k, v in options.items() if not (v.inherited and k in _SCOPE)}
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


def _is_good(option: Given, plugin: _Plugin | None) -> bool:
    """Options are texts. An id that YAML read as a number may have lost zeros or changed its base."""
    is_number = isinstance(option.value, (int, float)) and not isinstance(option.value, bool)
    if isinstance(option.value, str) or (plugin is None and not is_number):
        return True
    option.spot.error(
        "not a text", found=kind(option.value), allowed="a text", hint=secret_text(option.value)
    )
    return False


def _is_known(key: str, option: Given, name: str, plugin: _Plugin) -> bool:
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


def _check_needs(name: str, plugin: _Plugin, given: Mapping[str, Given], entry: Spot, files: str) -> None:
    needs = list(plugin.needs)
    if name == "v3applicationcredential" and not _has(given, "application_credential_id"):
        needs.append(_OR_ID)  # names of credentials are a user's own
    auth_url = str(given["auth_url"].value) if "auth_url" in given else ""
    if plugin.v3_only or auth_url.rstrip("/").endswith("/v3"):
        needs += _domains(given)
    for group in needs:
        if not _has(given, *group):
            entry.step("auth").error(
                f"{' or '.join(group)} is missing",
                found="",
                allowed=f"auth_type {name} needs it",
                hint=f"it is neither there nor beside auth in {files}",
            )


def _domains(given: Mapping[str, Given]) -> list[tuple[str, ...]]:
    """In Identity 3 names are unique in a domain only."""
    needs: list[tuple[str, ...]] = []
    for who, name in (("user_domain", "username"), ("project_domain", "project_name")):
        default = ("default_domain_id", "default_domain_name")
        if _has(given, name) and not _has(given, *default, name.replace("name", "id")):
            needs.append((f"{who}_id", f"{who}_name"))
    return needs


def _refuse_scope(given: Mapping[str, Given]) -> None:
    for key in sorted(_SCOPE & given.keys()):
        given[key].spot.error(
            "an application credential has a scope of its own, Identity refuses another",
            hint="remove this key",
            key=True,
        )


def _is_renewable(name: str, given: Mapping[str, Given]) -> bool:
    if name == "v3multifactor" and "auth_methods" in given:
        return "totp" not in str(given["auth_methods"].value)
    return name not in _UNRENEWABLE


def _is_allowed(layer: Layer) -> bool:
    given = layer.keys.get("allow_unrenewable_auth")
    return given is not None and given.value in (True, "true")

"""Credentials as a plugin of keystoneauth, and what that says of a failed login as one of our errors.

keystoneauth's plugins that choose the Identity API's version themselves are not used: they post the password to
whatever URL an unauthenticated document names, and wait for ever on a URL that answers 401 (measured with
keystoneauth1 5.18.1). Here a version in auth_url is believed, and of a document only the version counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import requests
from keystoneauth1 import exceptions as ksa
from keystoneauth1.plugin import BaseAuthPlugin

from poolmgr.cloud.openstack.calls import IDENTITY
from poolmgr.cloud.openstack.errors import Call, error_of, failure_of
from poolmgr.cloud.openstack.noanswer import cause_of, silence_of
from poolmgr.cloud.openstack.versions import version_in_path, versioned_url, versions_in
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import AuthFailed, CloudError, CloudUnavailable, ConfigError
from poolmgr.model.trouble import Trouble

#: Plugins for any version of the Identity API, and those they stand for.
_OF_ANY_VERSION = {"password": {2: "v2password", 3: "v3password"}, "token": {2: "v2token", 3: "v3token"}}
#: Plugins that present a token somebody else got: there is nothing to get another one with.
GIVEN_TOKENS = frozenset({"token", "v2token", "v3token", "admin_token", "v3oidcaccesstoken"})
_V2_NAMES = {"project_id": "tenant_id", "project_name": "tenant_name"}
_DOMAINS = (
    "user_domain_id",
    "user_domain_name",
    "project_domain_id",
    "project_domain_name",
    "domain_id",
    "domain_name",
)

_SCOPE = (
    "project_id",
    "project_name",
    "project_domain_id",
    "project_domain_name",
    "trust_id",
    "system_scope",
)

Document = Mapping[str, Any]


def auth_plugin(settings: CloudSettings, ask: Callable[[str], Document]) -> BaseAuthPlugin:
    """The keystoneauth plugin for a cloud's credentials.

    `ask` gets the version document at a URL, {} if there is none. Raises ConfigError when no plugin takes the
    credentials, and what `ask` raises.
    """
    from keystoneauth1 import loading  # with every plugin there is: only who logs in needs them

    _check_url(settings)
    settings = of_one_version(settings, ask)
    try:
        loader: Any = loading.get_plugin_loader(settings.auth_type)
        known = {option.dest for option in loader.get_options()}
        if "auth_methods" in known:  # the options of its methods are known to it once it has them
            known |= settings.auth.keys()
        options = {name: value for name, value in settings.auth.items() if name in known}
        if "client_secret" in known:  # a client may have none, and two plugins insist on hearing it
            options.setdefault("client_secret", None)
        plugin: BaseAuthPlugin = loader.load_from_options(**options)
    except ksa.ClientException as error:
        raise ConfigError(f"cloud {settings.name}: auth: {error}") from error
    return plugin


def _check_url(settings: CloudSettings) -> None:
    """Raises ConfigError for an auth_url that cannot be one."""
    url = str(settings.auth.get("auth_url") or "")
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        message = f"cloud {settings.name}: identity: auth_url {url}: no URL of a service"
        raise Trouble.BAD_URL.error(ConfigError, message)


def of_one_version(settings: CloudSettings, ask: Callable[[str], Document]) -> CloudSettings:
    """`settings` with a plugin, its options and an auth_url of one version of the Identity API.

    Raises ConfigError, AuthFailed when there is no Identity service at auth_url, and what `ask` raises.
    """
    plugins = _OF_ANY_VERSION.get(settings.auth_type)
    if plugins is not None:
        url = str(settings.auth.get("auth_url") or "").rstrip("/")
        named = version_in_path(url)
        major = named[0] if named else 0
        if not named:
            major, url = _offered(settings, url, ask)
        if major not in plugins:
            message = f"{_login(settings)}: there is no version {major} of the Identity API that we know"
            raise Trouble.WRONG_AUTH_URL.error(AuthFailed, message)
        settings = replace(settings, auth_type=plugins[major], auth={**settings.auth, "auth_url": url})
    if settings.auth_type.startswith("v2"):
        return replace(settings, auth=_of_v2(settings))
    return replace(settings, auth=_with_domains(settings.auth)) if plugins else settings


def _offered(settings: CloudSettings, url: str, ask: Callable[[str], Document]) -> tuple[int, str]:
    """The newest version of the Identity API that the document at `url` offers, and its URL."""
    offered = [v for v in versions_in(ask(url + "/")) if v.number[0] in (2, 3)]
    if not offered:
        raise Trouble.WRONG_AUTH_URL.error(
            AuthFailed, f"{_login(settings)}: what is there names no version of the Identity API"
        )
    return offered[0].number[0], versioned_url(url, offered[0])


def _of_v2(settings: CloudSettings) -> Mapping[str, Any]:
    """The options by their names in version 2.0, which knows no domains."""
    domains = [name for name in _DOMAINS if settings.auth.get(name)]
    if domains:
        message = (
            f"{_login(settings)}: that is version 2, which has no domains, and {', '.join(domains)} is given"
        )
        raise Trouble.WRONG_AUTH_URL.error(ConfigError, message)
    return {_V2_NAMES.get(name, name): value for name, value in settings.auth.items()}


def _with_domains(auth: Mapping[str, Any]) -> Mapping[str, Any]:
    """The default domain put where a domain is wanted and none is said."""
    filled = dict(auth)
    for what in ("user_domain", "project_domain"):
        if not any(auth.get(f"{what}_{kind}") for kind in ("id", "name")):
            filled |= {f"{what}_{kind}": auth.get(f"default_domain_{kind}") for kind in ("id", "name")}
    return filled


def without_scope(settings: CloudSettings) -> CloudSettings:
    """`settings` with a login for no project."""
    kept = {name: value for name, value in settings.auth.items() if name not in _SCOPE}
    return replace(settings, auth=kept)


def login_error(settings: CloudSettings, error: ksa.ClientException | OSError, now: float) -> CloudError:
    """keystoneauth's error at login as ours. `now` is epoch seconds."""
    call = _login(settings)
    cause = cause_of(error)
    if cause is not None:
        return silence_of(cause).error(CloudUnavailable, call)
    response = getattr(error, "response", None)
    if not isinstance(response, requests.Response):
        return Trouble.LOGIN_REFUSED.error(AuthFailed, f"{call}: {error}")
    asked = Call(settings.name, IDENTITY, response.request.method or "POST", response.url)
    if not isinstance(error, ksa.HttpError):  # a success that makes no sense
        message = f"{asked}: {response.status_code} without a token in it"
        return Trouble.WRONG_AUTH_URL.error(AuthFailed, message)
    failure = failure_of(asked, response.status_code, response.headers, response.content, now)
    if settings.auth_type in GIVEN_TOKENS and failure.status in (401, 404):
        return Trouble.TOKEN_ENDED.error(AuthFailed, str(failure), request_id=failure.request_id)
    return error_of(failure, repeatable=True)


def _login(settings: CloudSettings) -> Call:
    return Call(settings.name, IDENTITY, "login", str(settings.auth.get("auth_url", "")))

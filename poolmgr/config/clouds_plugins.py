"""What keystoneauth's plugins want to know, as a table (cloud.md 1.4).

keystoneauth itself is not asked: a file must be checked where it is not installed as well, and its loaders let a
missing password pass until the first call. A test compares the table with the keystoneauth that is installed.
Options and requirements are those of keystoneauth1 5.18.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points

PROJECT = frozenset({"project_id", "project_name", "project_domain_id", "project_domain_name"})
SCOPE = PROJECT | {"domain_id", "domain_name", "system_scope", "trust_id"}
OR_ID = ("username", "user_id")

_USER = frozenset({"user_id", "username", "user_domain_id", "user_domain_name"})
_DEFAULT_DOMAIN = frozenset({"default_domain_id", "default_domain_name"})
_AUTH_URL = frozenset({"auth_url"})
_FEDERATED = SCOPE | _AUTH_URL | {"identity_provider", "protocol"}
_OIDC = _FEDERATED | {
    "client_id",
    "client_secret",
    "scope",
    "access_token_endpoint",
    "discovery_endpoint",
    "access_token_type",
}
_NEEDS_PROJECT = ("project_id", "project_name", "system_scope", "trust_id")

Needs = tuple[tuple[str, ...], ...]


def _each(*names: str) -> Needs:
    return tuple((name,) for name in names)


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin's options by their current names. `needs`: of each group one must be given."""

    options: frozenset[str]
    needs: Needs = ()
    v3_only: bool = True  # names need domains; False where version 2 will do, and without an Identity service
    renewable: bool = True  # False: once its token has expired, a person has to come
    needs_certificate: bool = False  # the cloud's `cert` says who we are


_NEEDS_LOGIN = (("auth_url",), _NEEDS_PROJECT)
_NEEDS_FEDERATED = (*_NEEDS_LOGIN, *_each("identity_provider", "protocol"))
_NEEDS_OIDC = (*_NEEDS_FEDERATED, ("client_id",), ("discovery_endpoint", "access_token_endpoint"))
_KERBEROS = frozenset({"mutual_auth"})
_SAML = _FEDERATED | {"identity_provider_url", "username", "password"}

_V3_PASSWORD = Plugin(
    options=SCOPE | _USER | _AUTH_URL | {"password"}, needs=(*_NEEDS_LOGIN, OR_ID, ("password",))
)
_V3_TOKEN = Plugin(
    options=SCOPE | _AUTH_URL | {"token"}, needs=(*_NEEDS_LOGIN, ("token",)), v3_only=False, renewable=False
)
_OAUTH2 = Plugin(
    options=SCOPE | _AUTH_URL | {"oauth2_endpoint", "oauth2_client_id"},
    needs=_each("auth_url", "oauth2_endpoint", "oauth2_client_id"),
)
_V2 = frozenset({"auth_url", "project_id", "project_name", "trust_id"})
_V2_NEEDS = (("auth_url",), ("project_id", "project_name", "trust_id"))

PLUGINS: Mapping[str, Plugin] = {
    "password": replace(_V3_PASSWORD, options=_V3_PASSWORD.options | _DEFAULT_DOMAIN, v3_only=False),
    "v3password": _V3_PASSWORD,
    "v2password": Plugin(
        options=_V2 | {"password", *OR_ID}, needs=(*_V2_NEEDS, OR_ID, ("password",)), v3_only=False
    ),
    "token": replace(_V3_TOKEN, options=_V3_TOKEN.options | _DEFAULT_DOMAIN),
    "v3token": _V3_TOKEN,
    "v2token": Plugin(
        options=_V2 | {"token"}, needs=(*_V2_NEEDS, ("token",)), v3_only=False, renewable=False
    ),
    "v3applicationcredential": Plugin(
        options=SCOPE
        | _USER
        | _AUTH_URL
        | {"application_credential_id", "application_credential_name", "application_credential_secret"},
        needs=(
            ("auth_url",),
            ("application_credential_id", "application_credential_name"),
            ("application_credential_secret",),
        ),
    ),
    "v3totp": Plugin(
        options=SCOPE | _USER | _AUTH_URL | {"passcode"},
        needs=(*_NEEDS_LOGIN, OR_ID, ("passcode",)),
        renewable=False,
    ),
    # and all options of its methods
    "v3multifactor": Plugin(
        options=SCOPE | _AUTH_URL | {"auth_methods"}, needs=(*_NEEDS_LOGIN, ("auth_methods",))
    ),
    "v3tokenlessauth": Plugin(
        options=_AUTH_URL | PROJECT | {"domain_id", "domain_name"},
        needs=(("auth_url",), ("project_id", "project_name", "domain_id", "domain_name")),
        needs_certificate=True,
    ),
    "v3oidcpassword": Plugin(
        options=_OIDC | {"username", "password", "idp_otp_key"},
        needs=(*_NEEDS_OIDC, *_each("username", "password")),
    ),
    "v3oidcclientcredentials": Plugin(options=_OIDC, needs=(*_NEEDS_OIDC, ("client_secret",))),
    "v3oidcauthcode": Plugin(
        options=_OIDC | {"redirect_uri", "code"}, needs=(*_NEEDS_OIDC, ("code",)), renewable=False
    ),
    "v3oidcdeviceauthz": Plugin(
        options=_OIDC | {"device_authorization_endpoint", "code_challenge_method"},
        needs=_NEEDS_OIDC,
        renewable=False,
    ),
    "v3oidcaccesstoken": Plugin(
        options=_FEDERATED | {"access_token"}, needs=(*_NEEDS_FEDERATED, ("access_token",)), renewable=False
    ),
    "v3websso": Plugin(
        options=_FEDERATED | {"redirect_host", "redirect_port", "login_timeout", "username"},
        needs=_NEEDS_FEDERATED,
        renewable=False,
    ),
    "v3oauth1": Plugin(
        options=_AUTH_URL | {"consumer_key", "consumer_secret", "access_key", "access_secret"},
        needs=_each("auth_url", "consumer_key", "consumer_secret", "access_key", "access_secret"),
    ),
    "v3oauth2clientcredential": replace(
        _OAUTH2,
        options=_OAUTH2.options | {"oauth2_client_secret"},
        needs=(*_OAUTH2.needs, ("oauth2_client_secret",)),
    ),
    "v3oauth2mtlsclientcredential": replace(_OAUTH2, needs_certificate=True),
    "v3kerberos": Plugin(options=SCOPE | _AUTH_URL | _KERBEROS, needs=_NEEDS_LOGIN),
    "v3fedkerb": Plugin(options=_FEDERATED | _KERBEROS, needs=_NEEDS_FEDERATED),
    "v3samlpassword": Plugin(
        options=_SAML, needs=(*_NEEDS_FEDERATED, *_each("identity_provider_url", "username", "password"))
    ),
    "v3adfspassword": Plugin(
        options=_SAML | {"service_provider_endpoint", "service_provider_entity_id"},
        needs=(
            *_NEEDS_FEDERATED,
            *_each("identity_provider_url", "username", "password"),
            *_each("service_provider_endpoint", "service_provider_entity_id"),
        ),
    ),
    "none": Plugin(options=frozenset({"endpoint"}), v3_only=False),
    "http_basic": Plugin(
        options=frozenset({"username", "password", "endpoint"}),
        needs=_each("username", "password"),
        v3_only=False,
    ),
    "admin_token": Plugin(
        options=frozenset({"endpoint", "token"}), needs=_each("endpoint", "token"), v3_only=False
    ),
}

#: Every option of every plugin of the table: the keys that may also stand beside `auth`.
OPTIONS = frozenset(option for plugin in PLUGINS.values() for option in plugin.options)

#: Those that nobody may see.
SECRETS = frozenset(
    {
        "password", "token", "passcode", "application_credential_secret", "client_secret", "access_token", "code",
        "idp_otp_key", "consumer_secret", "access_secret", "oauth2_client_secret",
    }
)  # fmt: skip

#: Options that are no texts.
NUMBERS = frozenset({"redirect_port", "login_timeout"})

#: Names of plugins from before keystoneauth.
ALIASES = {"": "none", "none": "none", "token_endpoint": "admin_token"}

#: Old names of options of single plugins; those that all plugins know are in `clouds_layers`.
OLD_NAMES: Mapping[str, Mapping[str, str]] = {
    "admin_token": {"url": "endpoint"},
    "v3oidcauthcode": {"authorization_code": "code"},
}

#: Plugins that come with keystoneauth and need more: the module that must be there, and what brings it.
LIBRARIES = {
    "v3kerberos": ("requests_kerberos", "kerberos"),
    "v3fedkerb": ("requests_kerberos", "kerberos"),
    "v3samlpassword": ("lxml", "saml2"),
    "v3adfspassword": ("lxml", "saml2"),
    "v3oauth1": ("oauthlib", "oauth1"),
}


def installed_plugins() -> frozenset[str]:
    """The plugins that can log in on this machine: keystoneauth's and those of others."""
    names = {point.name for point in entry_points(group="keystoneauth1.plugin")}
    lacking = {
        name
        for name, (module, _) in LIBRARIES.items()
        if name in names and not importlib.util.find_spec(module)
    }
    return frozenset(names - lacking)


def how_to_install(name: str) -> str:
    """What to do about a plugin that is not installed; "" when it is not one of keystoneauth's."""
    if name in LIBRARIES:
        return f"install keystoneauth1[{LIBRARIES[name][1]}]"
    return "install keystoneauth1, newer than this one" if name in PLUGINS else ""


def with_methods(methods: list[str]) -> Plugin:
    """v3multifactor with the options and needs of its `methods`, which are other plugins."""
    plugin = PLUGINS["v3multifactor"]
    for method in methods:
        known = PLUGINS.get(method, Plugin(options=frozenset()))
        plugin = replace(
            plugin,
            options=plugin.options | known.options,
            needs=tuple(dict.fromkeys((*plugin.needs, *known.needs))),
            renewable=plugin.renewable and known.renewable,
        )
    return plugin

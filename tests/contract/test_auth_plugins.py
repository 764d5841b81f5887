"""The table of authentication plugins in `config`, compared with the keystoneauth that is installed."""

from __future__ import annotations

import pytest
from keystoneauth1 import loading

from poolmgr.cloud.openstack.login import auth_plugin
from poolmgr.config.clouds import load_clouds
from poolmgr.config.clouds_plugins import (
    LIBRARIES,
    NUMBERS,
    OLD_NAMES,
    PLUGINS,
    SECRETS,
    installed_plugins,
    with_methods,
)

#: Two of keystoneauth's plugins cannot even be described without their library, lxml.
SILENT = {"v3samlpassword", "v3adfspassword"} - installed_plugins()
TALKING = sorted(PLUGINS.keys() - SILENT)
V2 = {"tenant_id": "project_id", "tenant_name": "project_name"}


def options_of(name):
    return loading.get_plugin_loader(name).get_options()


def test_the_table_has_every_plugin_that_keystoneauth_ships():
    assert loading.get_available_plugin_names() <= PLUGINS.keys()
    assert PLUGINS.keys() - LIBRARIES.keys() <= loading.get_available_plugin_names()


def test_plugins_whose_library_is_missing_count_as_not_installed():
    assert installed_plugins() == loading.get_available_plugin_names()


@pytest.mark.parametrize("name", TALKING)
def test_options_are_those_of_keystoneauth(name):
    told = {V2.get(option.dest, option.dest) for option in options_of(name)}
    assert told == PLUGINS[name].options


@pytest.mark.parametrize("name", TALKING)
def test_what_keystoneauth_requires_is_required(name):
    required = {option.dest for option in options_of(name) if option.required}
    assert required <= {group[0] for group in PLUGINS[name].needs if len(group) == 1}


@pytest.mark.parametrize("name", TALKING)
def test_secrets_and_numbers_are_those_of_keystoneauth(name):
    assert {option.dest for option in options_of(name) if option.secret} <= SECRETS
    assert {option.dest for option in options_of(name) if option.type in (int, float)} <= NUMBERS


@pytest.mark.parametrize("name", TALKING)
def test_old_names_of_options_are_taken(name):
    general = {"tenant_id": "project_id", "tenant_name": "project_name", "user_name": "username"}
    for option in options_of(name):
        for old in option.deprecated:
            spelt = old.name.replace("-", "_")
            assert {**general, **OLD_NAMES.get(name, {})}[spelt] == option.dest


def login(name, methods=()):
    """What is needed at least, and a scope in a domain where names can be given."""
    plugin = with_methods(list(methods)) if methods else PLUGINS[name]
    given = {group[0]: "x" for group in plugin.needs}
    if methods:
        given["auth_methods"] = list(methods)
    given |= dict.fromkeys(NUMBERS & plugin.options, "1")
    return given | {"auth_url": "https://keystone.example/v3"} if "auth_url" in plugin.options else given


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        *((name, ()) for name in sorted(installed_plugins() - {"v3multifactor", "v2password", "v2token"})),
        ("v3multifactor", ("v3password", "v3totp")),
    ],
)
def test_a_checked_login_makes_the_plugin(tmp_path, name, methods):
    (tmp_path / "cert.pem").touch()
    given = login(name, methods) | ({"user_domain_id": "d"} if "username" in login(name, methods) else {})
    text = f"clouds: {{north: {{auth_type: {name}, cert: ~/cert.pem, auth: {given}}}}}"
    (tmp_path / "clouds.yaml").write_text(text)
    clouds = load_clouds(
        paths=[str(tmp_path / "clouds.yaml")], environ={"HOME": str(tmp_path)}, lasting=False
    )
    settings = clouds.get("north")
    assert auth_plugin(settings, lambda url: {}) is not None
    assert settings.auth_type == name


@pytest.mark.parametrize("name", ["v2password", "v2token"])
def test_plugins_of_version_2_get_the_project_by_the_name_they_know(tmp_path, name):
    given = {"auth_url": "https://k/v2.0", "username": "u", "password": "p", "token": "t", "project_id": "x"}
    (tmp_path / "clouds.yaml").write_text(f"clouds: {{north: {{auth_type: {name}, auth: {given}}}}}")
    clouds = load_clouds(
        paths=[str(tmp_path / "clouds.yaml")], environ={"HOME": str(tmp_path)}, lasting=False
    )
    assert auth_plugin(clouds.get("north"), lambda url: {}).tenant_id == "x"

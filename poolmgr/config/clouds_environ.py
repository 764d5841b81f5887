"""The cloud that OS_* variables describe, as the rc files of OpenStack's dashboard set them (cloud.md 1.3).

It is there only for those who ask for it: a daemon started from somebody's shell shall not pick up their login.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from poolmgr.config.clouds_layers import Given, Layer, current_name
from poolmgr.config.document import Document, document_of
from poolmgr.config.problem import Problem
from poolmgr.config.shape import Spot

#: These choose among clouds and describe none.
_SELECTORS = frozenset(
    {"OS_CLOUD", "OS_REGION_NAME", "OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE", "OS_CLOUD_NAME"}
)
_FORCE_IPV4 = "OS_FORCE_IPV4"
_OF_OTHERS = ("OS_TEST", "OS_STD", "OS_LOG")
_DEFAULT_NAME = "envvars"


def environment_document(environ: Mapping[str, str], *, strict: bool) -> Document:
    """The OS_* variables that say something, by their names. An empty one says nothing."""
    said = {key: value for key, value in environ.items() if key.startswith("OS_") and value}
    return document_of(said, origin="environment", strict=strict)


def environment_cloud(document: Document) -> str | None:
    """The name of the cloud that the variables describe; None when they describe none."""
    telling = (
        key
        for key in document.data
        if key not in _SELECTORS and key != _FORCE_IPV4 and not key.startswith(_OF_OTHERS)
    )
    return document.data.get("OS_CLOUD_NAME", _DEFAULT_NAME) if any(telling) else None


def environment_layer(document: Document, problems: list[Problem]) -> Layer:
    """The keys of that cloud. A variable in a key's current spelling counts before one in an old spelling."""
    keys: dict[str, Given] = {}
    for variable in document.data:
        name = variable.removeprefix("OS_").lower()
        if variable in _SELECTORS - {"OS_REGION_NAME"} or variable.startswith(_OF_OTHERS):
            continue
        if variable != _FORCE_IPV4 and (name == current_name(name) or current_name(name) not in keys):
            keys[current_name(name)] = _given(document, problems, variable)
    return Layer(keys=keys)


def environment_defaults(document: Document, problems: list[Problem]) -> Layer:
    """What the variables say of all clouds."""
    if _FORCE_IPV4 not in document.data:
        return Layer()
    return Layer(keys={"force_ipv4": replace(_given(document, problems, _FORCE_IPV4), inherited=False)})


def _given(document: Document, problems: list[Problem], variable: str) -> Given:
    return Given(
        value=document.data[variable],
        spot=Spot(document, problems, (variable,), hidden=True),
        inherited=True,
        label=f"environment {variable}",
    )

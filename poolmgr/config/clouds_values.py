"""What values of a cloud's keys look like (cloud.md 1.5).

YAML types are kept. Where the reference took texts for numbers or booleans, so do we, as long as nothing can be
misread; 2.60 for a microversion can, as YAML makes 2.6 of it.
"""

from __future__ import annotations

import re
from typing import Any

import voluptuous as vol

from poolmgr.config.settings import NetworkApi
from poolmgr.config.shape import Advice, Value, quoting_hint

_UNQUOTED = "quote it: YAML cannot tell {0} from {0}0"


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise vol.Invalid("no boolean")


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise vol.Invalid("no number") from error
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise vol.Invalid("no positive number")
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise vol.Invalid("no whole number")
    return int(number)


def _version(value: Any) -> str:
    """`2`, `"2.0"`, `3`, `v3`. Floats are written with one digit or two, and 2.10 is never one of them."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise vol.Invalid("no version")
    if isinstance(value, float) and value not in (1.0, 1.1, 2.0, 2.1, 3.0) and _may_lack_a_zero(value):
        raise Advice(_UNQUOTED.format(value))
    text = str(value).removeprefix("v")
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise vol.Invalid("no version")
    return text


def _microversion(value: Any) -> str:
    if isinstance(value, float) and _may_lack_a_zero(value):
        raise Advice(_UNQUOTED.format(value))
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"\d+\.\d+", text):
        raise vol.Invalid("no microversion")
    return text


def _may_lack_a_zero(value: float) -> bool:
    return len(str(value).partition(".")[2]) == 1


def _interfaces(value: Any) -> tuple[str, ...]:
    """One or several, also in the spelling of the version 2 catalog: `publicURL`."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise vol.Invalid("no interfaces")
    short = tuple(str(name).removesuffix("URL") for name in names)
    if not set(short) <= {"public", "internal", "admin"}:
        raise vol.Invalid("no such interface")
    return short


def _network_api(value: Any) -> NetworkApi | None:
    """YAML's none is the text "none", its null is None: people write either."""
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
        return None
    if isinstance(value, str) and value.lower() in ("neutron", "nova"):
        return NetworkApi(value.lower())
    raise vol.Invalid("no such service")


def _per_service(value: Any, single: Any) -> dict[str, Any]:
    """What is said of each service; "" stands for all that are not named."""
    if not isinstance(value, dict):
        return {"": single(value)}
    return {str(name).replace("-", "_"): single(each) for name, each in value.items()}


def _properties(value: Any) -> dict[str, str]:
    """Image properties are texts: True becomes "True", as xenapi_use_agent wants it."""
    if not isinstance(value, dict) or not all(isinstance(each, (str, int, float)) for each in value.values()):
        raise vol.Invalid("no mapping of texts")
    return {str(name): str(each) for name, each in value.items()}


FLAG = Value(schema=_flag, allowed="true or false")
SECONDS = Value(schema=_number, allowed="seconds, more than 0")
VERSION = Value(schema=_version, allowed="a version like 2 or '2.1'")
MICROVERSION = Value(schema=_microversion, allowed="a microversion like '2.67'")
INTERFACES = Value(schema=_interfaces, allowed="public, internal, admin, or a list of these")
NETWORK_API = Value(schema=_network_api, allowed="neutron, nova, none")
RATES = Value(
    schema=lambda value: _per_service(value, _number),
    allowed="calls per second, for all services or by service",
)
CONCURRENCIES = Value(
    schema=lambda value: _per_service(value, _whole), allowed="parallel calls, for all services or by service"
)
PROPERTIES = Value(schema=_properties, allowed="a mapping of image properties to texts")
MAPPING = Value(schema={str: object}, allowed="a mapping")


def one_of(*words: str) -> Value:
    """One of `words`."""
    return Value(schema=vol.In(words), allowed=", ".join(words))


def secret_text(value: Any) -> str:
    """A hint for an option that YAML did not read as a text; it never shows the value."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "quote it: YAML reads 0123 as 83"
    return quoting_hint(value)

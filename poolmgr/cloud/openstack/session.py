"""Authenticated HTTP to one cloud: log in, send one request, translate what goes wrong.

keystoneauth's plugins hold the credentials and the token; requests carries the calls. Invariants:

- a request is sent once, or twice when the first answer was 401 and a new token could be had (a 401 means that
  nothing was done, so this is safe for creating calls too);
- a token that another thread has renewed already is not thrown away;
- credentials that were refused are not tried again at once, since clouds lock accounts;
- nothing that is logged or raised holds a header, a body we sent, or a credential.
"""

from __future__ import annotations

import copy
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from keystoneauth1 import exceptions as ksa
from keystoneauth1.access import AccessInfo
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session as KeystoneSession

from poolmgr.cloud.openstack.calls import IDENTITY
from poolmgr.cloud.openstack.errors import Call, Failure, error_of, failure_of, plain_text
from poolmgr.cloud.openstack.gate import REDIRECTS, Gate, Timeouts
from poolmgr.cloud.openstack.login import auth_plugin, login_error
from poolmgr.cloud.openstack.noanswer import silence_of
from poolmgr.cloud.openstack.upload_body import Body
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import AuthFailed, CloudError, CloudUnavailable, OutcomeUnknown, Rejected
from poolmgr.model.trouble import Trouble
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

R = TypeVar("R")

LOGIN_PAUSES = (60.0, 120.0, 300.0, 600.0, 1800.0)  # after the first, second, ... refused login, seconds
REDIRECT_LIMIT = 3
MULTIPLE_CHOICES = 300  # how keystone and glance answer at their root; not an error
TOKEN_HEADER = "X-Auth-Token"
LEAST_LEFT = 600.0  # seconds that a token must have left when a long body goes out
SLOWEST_UPLOAD = 10e6  # bytes per second, to guess from how long a body takes
FRESH = 0.9  # of its life: a token that young is not replaced


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A successful answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    call: Call

    def document(self) -> dict[str, Any] | None:
        """The JSON object in it, None if there is none."""
        try:
            document = json.loads(self.content)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    def json(self) -> dict[str, Any]:
        """The JSON object in it. Raises CloudUnavailable when it is something else, a proxy's page perhaps."""
        document = self.document()
        if document is None:
            start = " ".join(self.content[:80].decode("utf-8", "replace").split())
            message = f"{self.call}: {self.status} without a JSON object: {start!r}"
            raise Trouble.NOT_JSON.error(CloudUnavailable, message)
        return document


class Session:
    """One login, shared by all threads of a provider."""

    def __init__(
        self,
        settings: CloudSettings,
        gate: Gate,
        clock: Clock,
        *,
        new_id: Callable[[], str],
        upload_gate: Gate | None = None,
    ) -> None:
        """`upload_gate`: the way out for bodies; without one nothing can be streamed."""
        self.cloud = settings.name
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._gate = gate
        self._http = http_through(gate, settings)
        self._uploads = http_through(upload_gate, settings) if upload_gate is not None else None
        self._auth: BaseAuthPlugin | None = None  # made at the first login
        self._keystone = KeystoneSession(
            session=self._http,
            verify=self._http.verify,
            cert=self._http.cert,
            redirect=REDIRECT_LIMIT,
            user_agent="poolmgr",
        )
        self._environments: dict[str, Mapping[str, Any]] = {}  # by scheme and host
        self._renewing = threading.Lock()
        self._logging_in = threading.Lock()
        self._login_failures = 0
        self._refused_logins = 0  # in a row
        self._login_after = float("-inf")  # monotonic
        self._last_login_error = CloudError("no login was tried")

    def close(self) -> None:
        self._http.close()
        if self._uploads is not None:
            self._uploads.close()

    def access(self) -> AccessInfo | None:
        """The token's facts (project, catalog), logging in if need be; None for plugins without a token."""
        from keystoneauth1.identity.base import BaseIdentityPlugin  # loads all of them, see login.py

        return self._login(
            lambda auth: auth.get_access(self._keystone) if isinstance(auth, BaseIdentityPlugin) else None
        )

    def project_id(self) -> str | None:
        return self._login(lambda auth: auth.get_project_id(self._keystone))

    def user_id(self) -> str | None:
        return self._login(lambda auth: auth.get_user_id(self._keystone))

    def plugin_endpoint(self) -> str | None:
        """The endpoint that a plugin without a catalog was configured with."""
        return self._login(lambda auth: auth.get_endpoint(self._keystone))

    def send(
        self,
        service: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        timeouts: Timeouts | None = None,
        authenticated: bool = True,
        repeatable: bool = False,
        about: str = "",
    ) -> Answer:
        """Send one request; `body` as JSON unless None. `repeatable`: a POST that may be done twice.

        `about` says in messages what the body asks for.

        Raises the leaves of `errors.RULES`; CloudUnavailable when there was no answer, or OutcomeUnknown
        when a POST that is not repeatable may have been carried out.
        """
        call = Call(self.cloud, service, method, url, about)
        lost_is_open = method == "POST" and not repeatable
        wanted = dict(headers or {})
        wanted["X-Openstack-Request-Id"] = f"req-{self._new_id()}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            wanted.setdefault("Content-Type", "application/json")
        if authenticated:
            wanted.update(self._auth_headers())
        response = self._once(call, wanted, data, timeouts, lost_is_open)
        if response.status_code == 401 and authenticated:
            self._renew(wanted.get(TOKEN_HEADER))
            wanted.update(self._auth_headers())
            response = self._once(call, wanted, data, timeouts, lost_is_open)
        if response.status_code <= MULTIPLE_CHOICES and is_a_page(call, response):
            leaf = OutcomeUnknown if lost_is_open else CloudUnavailable
            raise Trouble.WEB_PAGE.error(
                leaf, f"{call}: {response.status_code} with a web page{title_of(response)}"
            )
        if response.status_code <= MULTIPLE_CHOICES:
            status, content = response.status_code, response.content
            return Answer(status=status, headers=response.headers, content=content, call=call)
        failure = _failure(call, response, self._clock.time())
        log.debug("%s", failure)
        raise error_of(failure, repeatable=repeatable)

    def stream(
        self, service: str, method: str, url: str, body: Body, *, headers: Mapping[str, str]
    ) -> Answer | Failure:
        """Send `body` once, over a connection of its own, with a token that lasts; a refusal is returned too.

        Never sent again from here, nor redirected: then the body would go on where it ended. A token that was refused
        is forgotten, so that the next try gets another; so is one whose connection was cut, since a refusal is lost
        when the other side closes early. Raises CloudUnavailable when there was no answer.
        """
        assert self._uploads is not None
        call = Call(self.cloud, service, method, url)
        self._keep_fresh(max(LEAST_LEFT, len(body) / SLOWEST_UPLOAD))
        wanted = {**headers, **self._auth_headers(), "X-Openstack-Request-Id": f"req-{self._new_id()}"}
        wanted["Connection"] = "close"  # an old one may be dead, and the first block would be lost in it
        request = requests.Request(method, url, headers=wanted, data=body)
        prepared = self._uploads.prepare_request(request)
        timeouts = (self._gate.timeouts[0], body.patience)
        try:
            response = self._uploads.send(
                prepared, timeout=timeouts, allow_redirects=False, **self._environment(url)
            )
        except OSError as error:
            silence = silence_of(error)
            if silence.trouble is Trouble.CUT_OFF:
                self._renew(wanted.get(TOKEN_HEADER))
            raise silence.error(CloudUnavailable, call) from error
        if response.status_code < MULTIPLE_CHOICES and not is_a_page(call, response):
            status, content = response.status_code, response.content
            return Answer(status=status, headers=response.headers, content=content, call=call)
        if response.status_code < MULTIPLE_CHOICES:
            raise Trouble.WEB_PAGE.error(CloudUnavailable, f"{call}: {response.status_code} with a web page")
        if response.status_code == 401:
            self._renew(wanted.get(TOKEN_HEADER))
        failure = _failure(call, response, self._clock.time())
        log.debug("%s", failure)
        return failure

    def _once(
        self,
        call: Call,
        headers: Mapping[str, str],
        data: bytes | None,
        timeouts: Timeouts | None,
        lost_is_open: bool,
    ) -> requests.Response:
        """One request, redirects of a GET followed (the gate lets only harmless ones pass)."""
        url = call.url
        try:
            for _ in range(REDIRECT_LIMIT + 1):
                request = requests.Request(call.method, url, headers=headers, data=data)
                response = self._http.send(
                    self._http.prepare_request(request),
                    timeout=timeouts,
                    allow_redirects=False,
                    **self._environment(url),
                )
                target = response.headers.get("location")
                if call.method != "GET" or response.status_code not in REDIRECTS or not target:
                    return response
                url = urljoin(url, target)
        except Rejected as error:  # by the gate
            raise Trouble.STRANGE_REDIRECT.error(Rejected, f"{call}: {error.message}") from error
        except OSError as error:  # requests' own are of this kind too
            silence = silence_of(error)
            raise silence.error(
                OutcomeUnknown if lost_is_open and silence.sent else CloudUnavailable, call
            ) from error
        raise Trouble.STRANGE_REDIRECT.error(
            Rejected, f"{call}: redirected more than {REDIRECT_LIMIT} times, at last to {url}"
        )

    def _environment(self, url: str) -> Mapping[str, Any]:
        """Proxies and certificates for a host, looked up once: reading the environment costs a third of a call."""
        parts = urlsplit(url)
        host = f"{parts.scheme}://{parts.netloc}"
        found = self._environments.get(host)
        if found is None:
            merged = self._http.merge_environment_settings(host, {}, False, self._http.verify, None)
            found = self._environments[host] = dict(merged)
        return found

    def _auth_headers(self) -> Mapping[str, str]:
        return self._login(self._keystone.get_auth_headers) or {}

    def _keep_fresh(self, seconds: float) -> None:
        """Log in again if the token ends within `seconds`, unless it is as good as new."""
        access = self.access()
        if access is None or access.expires is None:
            return
        left = access.expires.timestamp() - self._clock.time()
        life = (access.expires - access.issued).total_seconds() if access.issued else seconds
        if left < seconds and left < FRESH * life:
            self._renew(self._auth_headers().get(TOKEN_HEADER))

    def login_rest(self) -> float:
        """Seconds in which no login is tried, as the last was refused; 0 when the next may be."""
        return max(0.0, self._login_after - self._clock.monotonic())

    def _renew(self, used: str | None) -> None:
        """Forget the token `used`, unless another thread has replaced it already."""
        with self._renewing:
            if self._auth_headers().get(TOKEN_HEADER) == used and self._auth is not None:
                self._auth.invalidate()

    def _login(self, ask: Callable[[BaseAuthPlugin], R]) -> R:
        """What `ask` answers of the plugin, keystoneauth's errors translated.

        One thread at a time: those that waited for a login that failed get its error, not a try each.
        """
        failures = self._login_failures
        with self._logging_in:
            if self._login_failures != failures:
                raise copy.copy(self._last_login_error)
            rest = self.login_rest()
            if rest > 0:
                last = self._last_login_error
                raise AuthFailed(f"{last}; next login in {rest:.0f} s", reason=last.reason)
            try:
                if self._auth is None:
                    self._auth = auth_plugin(self._settings, self._version_document)
                result = ask(self._auth)
            except (ksa.ClientException, CloudError, OSError) as error:
                self._last_login_error = self._login_failed(error)
                raise self._last_login_error from error
            self._refused_logins = 0
            return result

    def _version_document(self, url: str) -> Mapping[str, Any]:
        """What versions of the Identity API there are; asked for without a token. Raises CloudUnavailable."""
        try:
            return self.send(IDENTITY, "GET", url, authenticated=False).document() or {}
        except CloudUnavailable:
            raise
        except CloudError as error:
            log.debug("no version document: %s", error)
            return {}

    def _login_failed(self, error: ksa.ClientException | CloudError | OSError) -> CloudError:
        self._login_failures += 1
        translated = (
            error  # from the gate, or from the look at versions
            if isinstance(error, CloudError)
            else login_error(self._settings, error, self._clock.time())
        )
        if isinstance(translated, AuthFailed):
            pause = LOGIN_PAUSES[min(self._refused_logins, len(LOGIN_PAUSES) - 1)]
            self._refused_logins += 1
            self._login_after = self._clock.monotonic() + pause
        return translated


def http_through(gate: Gate, settings: CloudSettings) -> requests.Session:
    """What carries requests through `gate`, with the certificates of `settings`."""
    http = requests.Session()
    http.auth = no_netrc
    http.mount("https://", gate)
    http.mount("http://", gate)
    http.headers["User-Agent"] = "poolmgr"
    http.headers["Accept"] = "application/json"
    http.verify = (settings.cacert or True) if settings.verify else False
    if not settings.verify:  # the operator has said so; the doctor warns of it, not every command
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    http.cert = (settings.cert, settings.key) if settings.cert and settings.key else settings.cert
    return http


def no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from adding a password that ~/.netrc has for a cloud's host."""
    return request


def _failure(call: Call, response: requests.Response, now: float) -> Failure:
    return failure_of(call, response.status_code, response.headers, response.content, now)


def title_of(response: requests.Response) -> str:
    """` "<title>"` of a web page, cut to a readable length; "" if it has none."""
    title = plain_text(response.content[:100_000].decode("utf-8", "replace"))
    return f' "{title[:80]}"' if title else ""


def is_a_page(call: Call, response: requests.Response) -> bool:
    """Whether a success is an HTML page, which no OpenStack service answers with but Swift (202 to a PUT)."""
    html = response.headers.get("content-type", "").startswith("text/html")
    return html and bool(response.content) and call.service != "object-store"

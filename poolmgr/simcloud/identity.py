"""Who may ask a pretend cloud: one user, by password or by application credential, with tokens that expire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from poolmgr.simcloud.refusal import Refusal

_NOT_AUTHENTICATED = "The request you have made requires authentication."


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a client must present. The application credential's id and secret follow from the rest."""

    username: str
    password: str
    project: str
    domain: str
    user_id: str
    project_id: str
    domain_id: str = "default"
    app_id: str = ""
    app_secret: str = ""


@dataclass(frozen=True, kw_only=True)
class Token:
    id: str
    issued: float
    expires: float
    method: str
    scoped: bool = True  # False: good for no project


class Identity:
    def __init__(
        self,
        *,
        credentials: Credentials,
        token_seconds: Callable[[], float],
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`now` and not a timeline, since regions of several clouds share it."""
        self.credentials = credentials
        self._now, self._new_id, self._token_seconds = now, new_id, token_seconds
        self._tokens: dict[str, Token] = {}

    def log_in(self, auth: Mapping[str, Any]) -> Token:
        """A token for the `auth` object of Keystone v3 (API reference, "Authentication and token management").

        Raises Refusal (401) on wrong credentials, (400) on a scope that an application credential may not have.
        """
        identity = _dig(auth, "identity")
        methods = identity.get("methods") or []
        method = methods[0] if methods else ""
        scoped = bool(auth.get("scope")) or method != "password"
        if method == "password" and self._password_is_right(identity):
            if scoped:
                self._check_scope(auth.get("scope"))
        elif method == "application_credential":
            if auth.get("scope"):
                raise Refusal(
                    401,
                    "Error authenticating with application credential: Application credentials cannot "
                    "request a scope.",
                )
            self._check_application_credential(_dig(identity, "application_credential"))
        elif not (method == "token" and self.valid(str(_dig(identity, "token").get("id")))):
            raise Refusal(401, _NOT_AUTHENTICATED)
        return self._issue(method, scoped=scoped)

    def _password_is_right(self, identity: Mapping[str, Any]) -> bool:
        user, mine = _dig(identity, "password", "user"), self.credentials
        named = user.get("id") == mine.user_id or (
            user.get("name") == mine.username and self._is_domain(user.get("domain"))
        )
        return named and user.get("password") == mine.password

    def _is_domain(self, domain: Any) -> bool:
        mine = self.credentials
        return isinstance(domain, Mapping) and (
            domain.get("id") == mine.domain_id or domain.get("name") == mine.domain
        )

    def _check_scope(self, scope: Any) -> None:
        mine = self.credentials
        project = scope.get("project") if isinstance(scope, Mapping) else None
        if not isinstance(project, Mapping):
            raise Refusal(401, _NOT_AUTHENTICATED)
        by_name = project.get("name") == mine.project and self._is_domain(project.get("domain"))
        if project.get("id") != mine.project_id and not by_name:
            raise Refusal(401, _NOT_AUTHENTICATED)

    def _check_application_credential(self, given: Mapping[str, Any]) -> None:
        mine = self.credentials
        by_name = given.get("name") == "poolmgr" and _dig(given, "user").get("name") == mine.username
        if (given.get("id") != mine.app_id and not by_name) or given.get("secret") != mine.app_secret:
            raise Refusal(401, _NOT_AUTHENTICATED)

    def _issue(self, method: str, *, scoped: bool) -> Token:
        now = self._now()
        if len(self._tokens) > 1000:
            self._tokens = {t.id: t for t in self._tokens.values() if t.expires > now}
        expires = now + self._token_seconds()
        token = Token(
            id=self._new_id().replace("-", ""), issued=now, expires=expires, method=method, scoped=scoped
        )
        self._tokens[token.id] = token
        return token

    def valid(self, token_id: str | None) -> bool:
        token = self._tokens.get(token_id or "")
        return token is not None and token.expires > self._now()

    def token(self, token_id: str) -> Token:
        if not self.valid(token_id):
            raise Refusal(404, "Failed to validate token")
        return self._tokens[token_id]

    def tokens(self) -> tuple[str, ...]:
        """Ids of those that were issued, oldest first."""
        return tuple(self._tokens)

    def revoke(self, token_id: str | None) -> None:
        self._tokens.pop(token_id or "", None)

    def revoke_all(self) -> None:
        self._tokens.clear()


def _dig(body: Any, *keys: str) -> Mapping[str, Any]:
    """The object under a path of keys; {} where there is none."""
    for key in keys:
        body = body.get(key) if isinstance(body, Mapping) else None
    return body if isinstance(body, Mapping) else {}

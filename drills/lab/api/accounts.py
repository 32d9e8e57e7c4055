"""Who asks: bearer tokens, and the reviews by which clients ask who they are and what they may do."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from drills.lab.api.authorization import MASTERS, Authorizer, User, attributes_asked
from drills.lab.api.errors import ApiError, bad_request
from drills.lab.api.store import timestamp
from drills.lab.api.types import Obj

ADMIN = "kubernetes-admin"
_SERVICE_ACCOUNT = "system:serviceaccount:"


def service_account_user(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{_SERVICE_ACCOUNT}{namespace}:{name}"


class Accounts:
    """Tokens and the users that they stand for."""

    def __init__(self, token: str, authorizer: Authorizer, more: Mapping[str, str] | None = None) -> None:
        self._users = {token: ADMIN, **(more or {})}
        self._authorizer = authorizer

    def issue(self, user: str) -> str:
        """A new token for a user; good as long as the lab."""
        token = secrets.token_urlsafe(32)
        self._users[token] = user
        return token

    def user_of(self, authorization: str) -> User:
        """The user of an Authorization header. Raises ApiError 401."""
        scheme, _, token = authorization.partition(" ")
        user = self._find(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return User(user, tuple(_groups(user)))

    def _find(self, token: str) -> str | None:
        found = None
        for known, user in self._users.items():
            if secrets.compare_digest(known.encode(), token.encode()):
                found = user
        return found

    def token_request(self, namespace: str, name: str, document: Any) -> Obj:
        """Answer a TokenRequest for a service account (``kubectl create token``)."""
        spec = (document or {}).get("spec") or {} if isinstance(document, dict | None) else {}
        seconds = spec.get("expirationSeconds")
        seconds = seconds if isinstance(seconds, int) else 3600
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": None},
            "spec": {"audiences": [], **spec, "expirationSeconds": seconds},
            "status": {
                "token": self.issue(service_account_user(namespace, name)),
                "expirationTimestamp": timestamp(datetime.now(UTC) + timedelta(seconds=seconds)),
            },
        }

    def review(self, kind: str, user: User, document: Any) -> Obj:
        """Answer one of the review kinds of authentication.k8s.io and authorization.k8s.io. Raises ApiError 400."""
        if not isinstance(document, dict):
            raise bad_request(f"the body must be a {kind}")
        spec = document.get("spec") or {}
        match kind:
            case "SelfSubjectReview":
                status: Obj = {"userInfo": {"username": user.name, "groups": list(user.groups)}}
            case "TokenReview":
                status = self._token_review(document)
            case "SelfSubjectRulesReview":
                status = self._rules_review(user, str(spec.get("namespace") or ""))
            case "SubjectAccessReview":
                status = self._access_review(_named(spec), spec)
            case _:
                status = self._access_review(user, spec)
        return {"metadata": {"creationTimestamp": None}, **document, "kind": kind, "status": status}

    def _access_review(self, user: User, spec: Obj) -> Obj:
        asked = attributes_asked(spec)
        if asked is None:
            return {"allowed": MASTERS in user.groups}
        if self._authorizer.allows(user, asked):
            return {"allowed": True, "reason": f"RBAC: a rule allows it to {user.name}"}
        return {"allowed": False, "reason": f"RBAC: no rule allows it to {user.name}"}

    def _rules_review(self, user: User, namespace: str) -> Obj:
        everything = [{"verbs": ["*"], "nonResourceURLs": ["*"]}] if MASTERS in user.groups else []
        rules = list(self._authorizer.rules(user, namespace))
        return {"resourceRules": rules, "nonResourceRules": everything, "incomplete": False}

    def _token_review(self, document: Obj) -> Obj:
        user = self._find(str((document.get("spec") or {}).get("token") or ""))
        if user is None:
            return {"authenticated": False}
        return {"authenticated": True, "user": {"username": user, "groups": _groups(user)}}


def _named(spec: Obj) -> User:
    """The user that a SubjectAccessReview is about."""
    return User(str(spec.get("user") or ""), tuple(map(str, spec.get("groups") or ())))


def _groups(user: str) -> list[str]:
    if not user.startswith(_SERVICE_ACCOUNT):
        return [MASTERS, "system:authenticated"]
    namespace = user.removeprefix(_SERVICE_ACCOUNT).partition(":")[0]
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]

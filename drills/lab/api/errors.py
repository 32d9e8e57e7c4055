"""Errors as the API server words them: each becomes a metav1.Status for the client.

Wording follows k8s.io/apimachinery/pkg/api/errors, because kubectl and people's scripts match on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drills.lab.api.resources import Resource
from drills.lab.api.types import Obj


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why an object is invalid: ``reason`` is one of the API's Field... constants."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


class ApiError(Exception):
    """A request that the API refuses: HTTP status, the API's reason word, and the sentence for the user."""

    def __init__(self, status: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details

    def as_status(self) -> Obj:
        """The metav1.Status document."""
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.status,
        }
        if self.details:
            status["details"] = self.details
        return status


def _details(resource: Resource, name: str) -> Obj:
    return {"name": name, "group": resource.group, "kind": resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    """404: there is no such object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: create of an object that is there."""
    return ApiError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _details(resource, name))


def conflict(resource: Resource, name: str, why: str | None = None) -> ApiError:
    """409: somebody changed the object since it was read, or a precondition does not hold."""
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    text = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", text, _details(resource, name))


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """403: admission says no."""
    return ApiError(403, "Forbidden", f'{resource.qualified} "{name}" is forbidden: {why}', _details(resource, name))


def bad_request(message: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    """410: the history that a watch wants to resume from is gone."""
    return ApiError(410, "Expired", message)


def unsupported_media(message: str) -> ApiError:
    """415: a body or patch in a format that the API does not take."""
    return ApiError(415, "UnsupportedMediaType", message)


def method_not_allowed(message: str) -> ApiError:
    """405: the resource does not do that."""
    return ApiError(405, "MethodNotAllowed", message)


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: the object breaks rules of its kind; one cause each."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {
        "name": name,
        "group": resource.group,
        "kind": resource.kind,
        "causes": [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes],
    }
    return ApiError(422, "Invalid", f'{resource.qualified_kind} "{name}" is invalid: {listed}', details)

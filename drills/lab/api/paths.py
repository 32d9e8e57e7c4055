"""What a request's URL names: a kind, an object, a subresource; and the options in its query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from drills.lab.api.errors import ApiError, bad_request
from drills.lab.api.intake import FieldValidation
from drills.lab.api.resources import Resource, by_path


@dataclass(frozen=True, slots=True)
class Target:
    """The part of the API that a URL names. ``name`` is None for a collection, ``namespace`` for all of them."""

    resource: Resource
    namespace: str | None
    name: str | None
    subresource: str
    rest: str  # what follows the subresource: the path of a proxied request


@dataclass(frozen=True, slots=True)
class Options:
    """How a change is to be made."""

    dry_run: bool = False
    validation: FieldValidation = "Warn"


def no_such_path() -> ApiError:
    """404 for a URL that is no part of the API."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def parse_path(path: str) -> Target:
    """The target of a URL's path, ``/api/...`` or ``/apis/...``. Raises ApiError 404."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    namespace = None
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    resource = by_path(group, version, parts[0])
    if resource is None or (namespace is not None and not resource.namespaced):
        raise no_such_path()
    name = parts[1] if len(parts) > 1 else None
    if name is not None and resource.namespaced and namespace is None:
        raise no_such_path()
    subresource = parts[2] if len(parts) > 2 else ""
    return Target(resource, namespace, name, subresource, "/".join(parts[3:]))


def parse_options(query: Mapping[str, str], dry_run: object = None) -> Options:
    """``dryRun`` and ``fieldValidation`` of a change; ``dry_run`` is that of DeleteOptions. Raises ApiError 400."""
    dry = query.get("dryRun", "")
    if dry not in ("", "All"):
        raise bad_request(f'invalid dryRun: Unsupported value: "{dry}": supported values: "All"')
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        supported = '"", "Ignore", "Strict", "Warn"'
        raise bad_request(f'fieldValidation: Unsupported value: "{validation}": supported values: {supported}')
    return Options(dry == "All" or dry_run == ["All"], cast("FieldValidation", validation))


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query, in the spellings of Go's strconv.ParseBool; an empty value is true."""
    return name in query and query[name].lower() not in ("0", "f", "false")


def number(query: Mapping[str, str], name: str) -> int | None:
    """A non-negative whole number of the query. Raises ApiError 400."""
    text = query.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise bad_request(f'invalid {name}: "{text}" is no number')
    return int(text)

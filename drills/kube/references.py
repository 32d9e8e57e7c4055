"""Any object of the API by its address: read, create, replace and delete, each with the API's own guard against races.

What an undo needs, and no more: a replacement carries the resourceVersion that was read, a deletion the uid.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drills.errors import WorldError
from drills.kube.api import CONFLICT, NOT_FOUND, Api, Obj, core, custom

LOOK_SECONDS = 0.1

__all__ = ["CONFLICT", "NOT_FOUND", "Reference", "create", "delete", "read", "replace", "wait_gone"]


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an object is: ``api_version`` as manifests have it, ``plural`` as paths have it."""

    api_version: str
    plural: str
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.plural, self.namespace, self.name) if part is not None)

    @property
    def path(self) -> str:
        """Of the object."""
        return self._path(self.name)

    @property
    def collection(self) -> str:
        """Of the list that it is in, where it is created."""
        return self._path(None)

    def _path(self, name: str | None) -> str:
        group, _, version = self.api_version.rpartition("/")
        if not group:
            return core(self.plural, self.namespace, name)
        return custom(group, version, self.plural, self.namespace, name)


def read(api: Api, what: Reference) -> Obj | None:
    """The object; None if there is none."""
    return api.find(f"read {what}", "GET", what.path)


def create(api: Api, what: Reference, obj: Obj) -> Obj:
    """KubeError 409 if there is one already."""
    return api.create(f"create {what}", what.collection, obj)


def replace(api: Api, what: Reference, obj: Obj) -> Obj:
    """KubeError 409 if it is no longer at the resourceVersion that ``obj`` carries."""
    return api.replace(f"put back {what}", what.path, obj)


def delete(api: Api, what: Reference, *, uid: str, resource_version: str | None = None) -> None:
    """At once, whatever it owns afterwards; KubeError 409 if another object has its name now, or it was changed."""
    conditions: dict[str, Any] = {"uid": uid}
    if resource_version is not None:
        conditions["resourceVersion"] = resource_version
    options: Obj = {"gracePeriodSeconds": 0, "propagationPolicy": "Background", "preconditions": conditions}
    api.find(f"delete {what}", "DELETE", what.path, body=options)


def wait_gone(
    api: Api, what: Reference, *, uid: str, seconds: float, wait: Callable[[float], object] = time.sleep
) -> None:
    """Return when no object of this uid is there any more; WorldError after ``seconds``."""
    until = time.monotonic() + seconds
    while (found := read(api, what)) is not None and found["metadata"]["uid"] == uid:
        if time.monotonic() > until:
            holding = ", ".join(found["metadata"].get("finalizers") or ()) or "nobody says why"
            raise WorldError(f"{what} is still there {seconds:g} s after it was deleted ({holding})")
        wait(LOOK_SECONDS)

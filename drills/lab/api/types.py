"""Shapes that every part of the lab passes around.

A Kubernetes object is its JSON document. What comes out of the Store is shared between all parts
of the lab: treat it as read-only and ``copy.deepcopy`` it before changing anything.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Obj = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Event(NamedTuple):
    """One change of one object, as the Store records it."""

    revision: int
    type: EventType
    obj: Obj
    previous: Obj | None  # the object before the change; None for ADDED


def name_of(obj: Obj) -> str:
    """metadata.name, empty if there is none yet."""
    return str((obj.get("metadata") or {}).get("name") or "")


def namespace_of(obj: Obj) -> str | None:
    """metadata.namespace; None for an object of the cluster's own scope."""
    return (obj.get("metadata") or {}).get("namespace") or None


def uid_of(obj: Obj) -> str:
    """metadata.uid, empty if the Store has not seen the object."""
    return str((obj.get("metadata") or {}).get("uid") or "")


def labels_of(obj: Obj) -> dict[str, str]:
    """metadata.labels, empty if absent or null."""
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations_of(obj: Obj) -> dict[str, str]:
    """metadata.annotations, empty if absent or null."""
    return (obj.get("metadata") or {}).get("annotations") or {}


def deleting(obj: Obj) -> bool:
    """Whether the object is on its way out (metadata.deletionTimestamp is set)."""
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))

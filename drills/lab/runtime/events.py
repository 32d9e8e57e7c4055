"""Kubernetes Events: what happened to an object, for `kubectl describe` and `kubectl get events`."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Literal

from drills.lab.api.resources import EVENTS
from drills.lab.api.store import ApiError, Store, timestamp, utc_now
from drills.lab.api.types import Obj, name_of, namespace_of


def record(
    store: Store, about: Obj, reason: str, message: str, *, kind: Literal["Normal", "Warning"] = "Warning", source: str
) -> None:
    """Write an Event about an object; one that is there already is counted up. A vanished namespace is no error."""
    namespace, now = namespace_of(about) or "default", timestamp(utc_now())
    meta = about.get("metadata") or {}
    digest = hashlib.blake2b(f"{meta.get('uid')}{reason}{message}".encode(), digest_size=8).hexdigest()
    name = f"{name_of(about)}.{digest}"
    with suppress(ApiError):
        old = store.find(EVENTS, namespace, name)
        if old is not None:
            store.update(EVENTS, {**old, "count": old.get("count", 1) + 1, "lastTimestamp": now})
            return
        involved = {"kind": about.get("kind"), "apiVersion": about.get("apiVersion"), "namespace": namespace_of(about)}
        identity = {key: meta.get(key) for key in ("name", "uid", "resourceVersion")}
        event = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {key: value for key, value in (involved | identity).items() if value},
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": source},
            "reportingComponent": source,
        }
        store.create(EVENTS, event)

"""What the lab's monitoring has to say about an object, where Kubernetes users look for it: an Event."""

from __future__ import annotations

from drills.lab.api.resources import EVENTS, Resource
from drills.lab.api.store import Store, timestamp, utc_now
from drills.lab.api.types import Obj, name_of, namespace_of, uid_of

COMPONENT = "drills-lab-monitoring"


def warn(store: Store, resource: Resource, obj: Obj, reason: str, message: str) -> None:
    """Record a warning about an object that is in the store."""
    now = timestamp(utc_now())
    namespace = namespace_of(obj) or "default"
    store.create(
        EVENTS,
        {
            "metadata": {"generateName": f"{name_of(obj)}.", "namespace": namespace},
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": namespace,
                "name": name_of(obj),
                "uid": uid_of(obj),
            },
            "type": "Warning",
            "reason": reason,
            "message": message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        },
    )

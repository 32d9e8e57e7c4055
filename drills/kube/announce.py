"""What a run writes for others to read: Events, and a ConfigMap of its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from drills.kube.api import CONFLICT, Api, KubeError, Obj, core

Kind = Literal["Normal", "Warning"]

_LONGEST = 1024  # characters of an Event's message that the API takes


@dataclass(frozen=True, slots=True)
class Event:
    """About a namespace as a whole."""

    namespace: str
    reason: str
    kind: Kind
    message: str


def record_event(api: Api, event: Event) -> None:
    """Write it; the API forgets Events by itself, after an hour by default. KubeError where it is not taken."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    about = {"apiVersion": "v1", "kind": "Namespace", "name": event.namespace, "namespace": event.namespace}
    body: Obj = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"drills.{secrets.token_hex(8)}", "namespace": event.namespace},
        "involvedObject": about,
        "reason": event.reason,
        "type": event.kind,
        "message": event.message if len(event.message) <= _LONGEST else event.message[: _LONGEST - 3] + "...",
        "source": {"component": "drills"},
        "reportingComponent": "drills",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    api.create(f"record an Event in {event.namespace}", core("events", event.namespace), body)


def write_config_map(api: Api, namespace: str, name: str, data: dict[str, str]) -> None:
    """Make it, or replace the one of that name. KubeError where it is not taken."""
    body: Obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "drills"}},
        "data": data,
    }
    doing = f"write ConfigMap {namespace}/{name}"
    try:
        api.create(doing, core("configmaps", namespace), body)
    except KubeError as error:
        if error.status != CONFLICT:
            raise
        api.call(doing, "PUT", core("configmaps", namespace, name), body=body)  # whatever it is: safe to repeat

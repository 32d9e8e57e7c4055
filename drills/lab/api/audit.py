"""Who asked for what: a line for every request of a service account, shaped as Kubernetes' audit events.

The lab's own user is not written down: what it may do needs no proof. Source of the shape: Kubernetes
staging/src/k8s.io/apiserver/pkg/apis/audit/v1/types.go, of which these are the fields that an authorizer sees.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from drills.lab.api.authorization import MASTERS, Attributes, User
from drills.lab.api.store import timestamp
from drills.lab.api.types import Obj

AUDIT_LOG = "audit.log"

Audit: TypeAlias = Callable[[User, Attributes, bool], None]


def event(user: User, asked: Attributes, allowed: bool) -> Obj:
    """The audit event of a request."""
    reference = {
        "resource": asked.resource,
        "subresource": asked.subresource,
        "apiGroup": asked.group,
        "namespace": asked.namespace,
        "name": asked.name,
    }
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "requestReceivedTimestamp": timestamp(datetime.now(UTC)),
        "verb": asked.verb,
        "user": {"username": user.name, "groups": list(user.groups)},
        "objectRef": {key: value for key, value in reference.items() if value},
        "annotations": {"authorization.k8s.io/decision": "allow" if allowed else "forbid"},
    }


def to_log(path: Path) -> Audit:
    """An audit that adds lines to a file, made with the first of them."""

    def audit(user: User, asked: Attributes, allowed: bool) -> None:
        if MASTERS not in user.groups:
            with path.open("a", encoding="utf-8") as log:
                log.write(json.dumps(event(user, asked, allowed)) + "\n")

    return audit

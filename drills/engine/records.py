"""The cluster's own record of what is to be undone: one Secret for each change that stands, in namespace ``drills``.

A Secret, because a before-image may be one. It is there before the change is made and goes when the undo was verified,
so that whatever lies here is what a run left behind.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from pydantic import ValidationError

from drills.engine.undo import Record
from drills.errors import WorldError
from drills.kube import Cluster, KubeError
from drills.kube.lease import NAMESPACE
from drills.kube.secrets import Secret, create_secret, delete_secret, secrets

KIND = "drills/undo"  # the Secret's type
KEY = "undo.json"
LABELS = {"app.kubernetes.io/managed-by": "drills", "drills/record": "undo"}
RUN = "drills/run"


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A record that lies in the cluster; ``record`` None where this version cannot read it."""

    name: str
    record: Record | None
    problem: str = ""

    @property
    def what(self) -> str:
        """The change, in words."""
        return f"Secret {NAMESPACE}/{self.name}" if self.record is None else self.record.what

    @property
    def playbook(self) -> str:
        """Whose run left it; empty where that is not known."""
        return "" if self.record is None else self.record.playbook


class Records:
    """Of one cluster; may be used from any thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def add(self, record: Record) -> None:
        """Returns once the cluster has it; WorldError if it does not take it: then the change must not be made."""
        text = record.model_dump_json(by_alias=True)
        secret = Secret(NAMESPACE, _name(record), {KEY: text.encode()})
        try:
            create_secret(self._cluster, secret, kind=KIND, labels={**LABELS, RUN: record.run})
        except KubeError as error:
            if error.unknown:  # it may be there all the same, and would tell of a change that was never made
                with contextlib.suppress(WorldError):
                    self.drop(record)
            raise WorldError(
                f"The undo of {record.what} could not be written down, so it was not made. {error}"
            ) from None

    def drop(self, record: Record) -> None:
        """The change is undone. Raises KubeError."""
        delete_secret(self._cluster, NAMESPACE, _name(record))

    def outstanding(self) -> list[Outstanding]:
        """Whatever runs left behind, in the order in which it is to be undone: the last change first."""
        found = [_read(secret) for secret in secrets(self._cluster, NAMESPACE, LABELS)]
        return sorted(found, key=lambda one: one.name, reverse=True)


def _name(record: Record) -> str:
    return f"drills-undo-{record.run}-{record.order:05d}"


def _read(secret: Secret) -> Outstanding:
    try:
        return Outstanding(secret.name, Record.model_validate_json(secret.data.get(KEY, b"")))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]  # never the value: it may be a secret's
        where = ".".join(str(part) for part in first["loc"])
        return Outstanding(secret.name, None, f"{where}: {first['msg']}" if where else str(first["msg"]))

"""A receiver that keeps what Alertmanager sent to it, so that *notified* is seen and not assumed.

The lab has one. Its ``GET /notifications`` answers a list of the webhook bodies (Alertmanager
docs/configuration.md, ``webhook_config``), each with ``receivedAt``, seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alerts.http import HttpSource
from drills.errors import WorldError


class ReceiverError(WorldError):
    """The receiver cannot be reached or does not answer as one."""


@dataclass(frozen=True, slots=True)
class NotifiedAlert:
    """One alert inside a notification."""

    labels: Mapping[str, str]
    status: Literal["firing", "resolved"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One call of the webhook."""

    received_at: float
    receiver: str
    alerts: tuple[NotifiedAlert, ...]


class Receiver(HttpSource):
    """A receiver's record of notifications. One per thread."""

    error = ReceiverError
    what = "The receiver"

    def notifications(self) -> tuple[Notification, ...]:
        """Everything received so far, oldest first."""
        return self.read("/notifications", lambda data: tuple(_notification(item) for item in data))


def _notification(item: Mapping[str, Any]) -> Notification:
    return Notification(
        received_at=float(item["receivedAt"]),
        receiver=str(item["receiver"]),
        alerts=tuple(NotifiedAlert(labels=one["labels"], status=one["status"]) for one in item["alerts"]),
    )

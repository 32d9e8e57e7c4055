"""Alertmanager: which alerts it has, what mutes them, where it sends them and whether that works (API v2). All that is
ever written there are silences.

Times are seconds since the epoch. ``startsAt`` of an alert is when Prometheus fired it. A failing
receiver shows nowhere in the API, only in Alertmanager's own metrics: ``notification_requests_failed_total``
grows at every try, ``notifications_failed_total`` only when it gives up (both seen with 0.25).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import requests

from alerts.http import HttpSource
from alerts.silences import OwnSilence, Silence, silence_of
from alerts.timestamps import epoch
from drills.errors import WorldError

T = TypeVar("T")


class AlertmanagerError(WorldError):
    """Alertmanager cannot be reached, or refuses what was asked."""


@dataclass(frozen=True, slots=True)
class ManagedAlert:
    """An alert as Alertmanager holds it. ``inhibited_by`` and ``silenced_by`` are fingerprints and silence ids.

    A route that is muted by time shows here as *active* and sends nothing; ``muted_by`` exists from
    Alertmanager 0.28 on.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    fingerprint: str
    starts_at: float
    ends_at: float | None
    updated_at: float | None
    state: Literal["unprocessed", "active", "suppressed"]
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]
    muted_by: tuple[str, ...]
    receivers: tuple[str, ...]

    @property
    def name(self) -> str:
        """The ``alertname`` label."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True, slots=True)
class AlertmanagerStatus:
    """What runs and with which configuration (secrets are masked by Alertmanager)."""

    version: str
    started_at: float
    config: str


@dataclass(frozen=True, slots=True)
class Group:
    """An alert group of one receiver: the alerts that share a notification."""

    receiver: str
    labels: Mapping[str, str]
    fingerprints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What an integration (``webhook``, ...) has done since Alertmanager's start; requests are single tries."""

    integration: str
    sent: float
    failed: float
    requests: float
    requests_failed: float


class Alertmanager(HttpSource):
    """An Alertmanager. One per thread."""

    error = AlertmanagerError
    what = "Alertmanager"

    def alerts(self) -> tuple[ManagedAlert, ...]:
        """Every alert that is not resolved, silenced and inhibited ones included."""
        return self._list("/api/v2/alerts", _alert)

    def groups(self) -> tuple[Group, ...]:
        """The alert groups as they stand."""
        return self._list("/api/v2/alerts/groups", _group)

    def silences(self) -> tuple[Silence, ...]:
        """Every silence it remembers."""
        return self._list("/api/v2/silences", silence_of)

    def create_silence(self, wanted: OwnSilence) -> str:
        """Make a silence; its id. Where the answer was lost, the one that may be there is looked for."""
        path = "/api/v2/silences"

        def make() -> str:
            response = self.session.post(
                f"{self.url}{path}", json=wanted.body(), timeout=self.timeout, allow_redirects=False
            )
            if response.status_code != requests.codes.ok:
                raise self.error(self.refused(response, path))
            return str(response.json()["silenceID"])

        def look() -> str | None:
            return next((one.id for one in self.silences() if one.stands and wanted.is_this(one)), None)

        return self.written(make, look, path)

    def expire_silence(self, silence_id: str) -> None:
        """End a silence now; one that has ended, or that it does not know, is left as it is."""
        path = f"/api/v2/silence/{quote(silence_id, safe='')}"

        def end() -> bool:
            response = self.session.delete(f"{self.url}{path}", timeout=self.timeout, allow_redirects=False)
            if response.status_code not in (requests.codes.ok, requests.codes.not_found):
                raise self.error(self.refused(response, path))
            return True

        def look() -> bool | None:  # 0.25 answers 500 for a silence that has ended
            return None if any(one.stands for one in self.silences() if one.id == silence_id) else True

        self.written(end, look, path)

    def receivers(self) -> tuple[str, ...]:
        """The names of the configured receivers."""
        return self._list("/api/v2/receivers", lambda item: str(item["name"]))

    def status(self) -> AlertmanagerStatus:
        """See `AlertmanagerStatus`."""
        return self.read("/api/v2/status", _status)

    def deliveries(self) -> tuple[Deliveries, ...]:
        """Counters of every integration, from Alertmanager's own ``/metrics``, summed over receivers and reasons."""
        sums: dict[str, dict[str, float]] = {}
        for name, integration, value in _METRIC.findall(self._text("/metrics")):
            counts = sums.setdefault(integration, dict.fromkeys(_COUNTERS, 0.0))
            counts[name] += float(value)
        return tuple(
            Deliveries(
                integration=integration,
                sent=counts["notifications_total"],
                failed=counts["notifications_failed_total"],
                requests=counts["notification_requests_total"],
                requests_failed=counts["notification_requests_failed_total"],
            )
            for integration, counts in sorted(sums.items())
        )

    def _list(self, path: str, parse: Callable[[Any], T]) -> tuple[T, ...]:
        def items(data: Any) -> tuple[T, ...]:
            if not isinstance(data, list):
                raise TypeError
            return tuple(parse(item) for item in data)

        return self.read(path, items)

    def _text(self, path: str) -> str:
        """The body; empty where there is no such page for us (a proxy may hide it)."""

        def ask() -> str:
            response = self.session.get(f"{self.url}{path}", timeout=self.timeout)
            return response.text if response.status_code == requests.codes.ok else ""

        return self.asked(ask, path)


_COUNTERS = (
    "notifications_total",
    "notifications_failed_total",
    "notification_requests_total",
    "notification_requests_failed_total",
)
_METRIC = re.compile(
    rf'^alertmanager_({"|".join(_COUNTERS)}){{[^}}]*integration="([^"]+)"[^}}]*}} (\S+)$', re.MULTILINE
)


def _status(data: Any) -> AlertmanagerStatus:
    return AlertmanagerStatus(
        version=str(data["versionInfo"]["version"]),
        started_at=epoch(data["uptime"]) or 0.0,
        config=str(data["config"]["original"]),
    )


def _group(item: Any) -> Group:
    return Group(
        receiver=item["receiver"]["name"],
        labels=item.get("labels") or {},
        fingerprints=tuple(alert["fingerprint"] for alert in item.get("alerts") or []),
    )


def _alert(data: Mapping[str, Any]) -> ManagedAlert:
    status = data["status"]
    return ManagedAlert(
        labels=data["labels"],
        annotations=data.get("annotations") or {},
        fingerprint=data["fingerprint"],
        starts_at=epoch(data["startsAt"]) or 0.0,
        ends_at=epoch(data.get("endsAt")),
        updated_at=epoch(data.get("updatedAt")),
        state=status["state"],
        silenced_by=tuple(status.get("silencedBy") or ()),
        inhibited_by=tuple(status.get("inhibitedBy") or ()),
        muted_by=tuple(status.get("mutedBy") or ()),
        receivers=tuple(receiver["name"] for receiver in data.get("receivers") or ()),
    )

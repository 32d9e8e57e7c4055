"""What a user decides about a deployment, and the few words that all its objects share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from drills.engine.publications import Where
from drills.errors import InputError
from drills.kube.lease import NAMESPACE
from drills.kube.pods import own_image

Obj: TypeAlias = dict[str, Any]

PART_OF: Final = {"app.kubernetes.io/name": "drills", "app.kubernetes.io/managed-by": "drills"}
METRICS: Final = "metrics"  # the port on which a runner serves them
WHY: Final = "drills/why"  # annotation: what an object is for, for people


_SECRET_KEY: Final = re.compile(r"(?P<secret>[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?)/(?P<key>[-._A-Za-z0-9]{1,253})")


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A file that a Secret of the runner's namespace holds; its other keys lie beside it."""

    secret: str
    key: str

    @classmethod
    def parse(cls, text: str) -> SecretKey:
        """Of ``SECRET/KEY``; InputError for what is none."""
        found = _SECRET_KEY.fullmatch(text)
        if found is None or found["key"] in (".", ".."):
            raise InputError(f'"{text}" names no key of a Secret: write SECRET/KEY, such as monitoring/http.yaml.')
        return cls(found["secret"], found["key"])


@dataclass(frozen=True, slots=True)
class Mount:
    """A Secret as the runner's pod sees it, in a folder of its own."""

    name: str  # of the volume
    file: SecretKey

    @property
    def folder(self) -> str:
        """Where it is mounted."""
        return f"/credentials/{self.name}"

    @property
    def path(self) -> str:
        """Of the file."""
        return f"{self.folder}/{self.file.key}"


@dataclass(frozen=True, slots=True)
class Settings:
    """``timezone``: of the schedules. ``rule_labels``: what the Prometheus Operator's ruleSelector wants."""

    namespace: str = NAMESPACE
    service_account: str | None = None  # None: one for each playbook, of its name
    image: str = field(default_factory=own_image)
    prometheus: str = "http://prometheus-operated.monitoring:9090"
    alertmanager: str = "http://alertmanager-operated.monitoring:9093"  # empty: none
    pushgateway: str = "http://prometheus-pushgateway.monitoring:9091"  # where metrics go; empty: nowhere
    publish: tuple[Where, ...] = ()  # where results go beside that
    prometheus_http_config: SecretKey | None = None
    alertmanager_http_config: SecretKey | None = None
    grafana_token: SecretKey | None = None
    timezone: str = "Etc/UTC"
    rule_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def watched(self) -> list[str]:
        """The addresses that alerts are read from."""
        return [one for one in (self.prometheus, self.alertmanager) if one]

    @property
    def published(self) -> tuple[Where, ...]:
        """Everywhere that results go, the Pushgateway first."""
        first = [Where("pushgateway", self.pushgateway)] if self.pushgateway else []
        return tuple(dict.fromkeys([*first, *self.publish]))

    @property
    def scraped(self) -> Where | None:
        """The publication that somebody fetches from the runner's pod."""
        return next((one for one in self.published if one.kind == "scrape"), None)

    @property
    def reached(self) -> list[str]:
        """Every address that the runner goes to."""
        return [*self.watched, *(one.url for one in self.published if one.url is not None)]

    @property
    def mounts(self) -> list[Mount]:
        """The Secrets that the runner reads as files."""
        return [Mount(name, one) for name, one in self._secrets() if one is not None]

    def _secrets(self) -> Iterator[tuple[str, SecretKey | None]]:
        yield "prometheus", self.prometheus_http_config
        yield "alertmanager", self.alertmanager_http_config
        yield "grafana", self.grafana_token

    def account(self, playbook: str) -> str:
        """The service account that runs a playbook."""
        return self.service_account or title(playbook)


def title(playbook: str) -> str:
    """The name of what belongs to a playbook."""
    return f"drills-{playbook}"


def labels_of(playbook: str) -> dict[str, str]:
    """The labels of what belongs to a playbook."""
    return {**PART_OF, "drills/playbook": playbook}


def obj(
    api_version: str,
    kind: str,
    name: str,
    namespace: str | None,
    labels: Mapping[str, str],
    *,
    why: str | None = None,
    **rest: Any,
) -> Obj:
    """An object with its metadata in the order in which people read it."""
    metadata: Obj = {"name": name} | ({"namespace": namespace} if namespace is not None else {})
    metadata["labels"] = dict(labels)
    if why is not None:
        metadata["annotations"] = {WHY: why}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}

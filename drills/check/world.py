"""What is checked, read once and sorted by kind: every check looks at this and at nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.check.finding import Finding
from drills.cilium import policy
from drills.cilium.ports import NamedPorts
from drills.cilium.release import KNOWN, Release, known_release
from drills.errors import InputError, Place
from drills.playbook import Playbook
from drills.source import Document, KeyPath

DEFAULT_CILIUM = "1.20"
DEFAULT_NAMESPACE = "default"  # of what is left to kubectl's context
NAME_LABEL = "kubernetes.io/metadata.name"  # the API server gives it to every namespace
WORKLOADS = ("Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a document: ``at`` leads to it where it is an item of a List."""

    document: Document
    data: Mapping[str, Any]
    at: KeyPath = ()

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", ""))

    @property
    def group(self) -> str:
        """The API group: ``cilium.io``; empty for the core group."""
        return str(self.data.get("apiVersion", "")).rpartition("/")[0]

    @property
    def metadata(self) -> Mapping[str, Any]:
        found = self.data.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str | None:
        """As written; None where it is left to kubectl's context."""
        found = self.metadata.get("namespace")
        return None if found is None else str(found)

    def place(self, *path: str | int) -> Place:
        """Where a value of the object stands; the nearest value above it where there is none."""
        return self.document.place_of((*self.at, *path))

    def key_place(self, *path: str | int) -> Place:
        """Where the key stands that a path ends with."""
        return self.document.key_place_of((*self.at, *path))

    def __str__(self) -> str:
        where = "" if self.namespace is None else f"{self.namespace}/"
        return f"{self.kind} {where}{self.name}"


@dataclass(frozen=True, slots=True)
class LoadedPlaybook:
    """A playbook that fits its schema, and the document that it was read from."""

    document: Document
    playbook: Playbook


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. ``catalog`` and ``prometheus`` add to the known metrics."""

    cilium: str = DEFAULT_CILIUM  # MAJOR.MINOR, or more of a version
    catalog: Path | None = None
    prometheus: str | None = None
    write_tests: Path | None = None
    min_coverage: int | None = None

    def __post_init__(self) -> None:
        """InputError where ``cilium`` is no release, or one of which nothing is known."""
        _ = self.release

    @property
    def release(self) -> Release:
        """The release as numbers: ``1.20`` is (1, 20)."""
        try:
            return known_release(self.cilium)
        except ValueError as error:
            raise InputError(f"--cilium-version: {error} ({KNOWN}).") from None


@dataclass(frozen=True, slots=True)
class World:
    """Everything that was given to be checked.

    ``objects`` are Kubernetes objects of any kind; ``rule_files`` plain Prometheus rule files (``groups:`` at the top),
    ``alertmanagers`` plain Alertmanager configurations (``route:`` and ``receivers:`` at the top), ``values`` files
    that are named as Helm's are. ``unreadable`` are files and playbooks that could not be read, as findings.
    """

    objects: Sequence[Manifest] = ()
    rule_files: Sequence[Document] = ()
    alertmanagers: Sequence[Document] = ()
    playbooks: Sequence[LoadedPlaybook] = ()
    unreadable: Sequence[Finding] = ()
    values: Sequence[Document] = ()
    options: Options = field(default_factory=Options)

    @property
    def empty(self) -> bool:
        """Whether nothing was given that any check knows."""
        return not (self.objects or self.rule_files or self.alertmanagers or self.playbooks or self.values
                    or self.unreadable)  # fmt: skip

    def of_kind(self, *kinds: str) -> Iterator[Manifest]:
        """Objects of these kinds, in the order of the files."""
        return (each for each in self.objects if each.kind in kinds)

    @property
    def policies(self) -> Iterator[Manifest]:
        """CiliumNetworkPolicies and CiliumClusterwideNetworkPolicies."""
        return self.of_kind(*policy.KINDS)

    @property
    def prometheus_rules(self) -> Iterator[Manifest]:
        """PrometheusRule objects."""
        return self.of_kind("PrometheusRule")

    @property
    def workloads(self) -> Iterator[Manifest]:
        """Objects that make pods."""
        return self.of_kind(*WORKLOADS)


def mapping(found: Any) -> Mapping[str, Any]:
    """A mapping as it is; an empty one for anything else that somebody wrote."""
    return found if isinstance(found, dict) else {}


def mappings(found: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list; none of anything else."""
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def named_ports(spec: Mapping[str, Any]) -> NamedPorts:
    """The ports of a pod that have a name, by name and protocol."""
    return {
        (str(port["name"]).lower(), str(port.get("protocol") or "TCP")): port["containerPort"]
        for container in mappings(spec.get("containers"))
        for port in mappings(container.get("ports"))
        if port.get("name") and isinstance(port.get("containerPort"), int)
    }


def pod_template(workload: Manifest) -> tuple[KeyPath, Mapping[str, Any]]:
    """The pod that a workload makes (metadata and spec), and the path to it; empty where it is malformed."""
    paths: dict[str, KeyPath] = {"Pod": (), "CronJob": ("spec", "jobTemplate", "spec", "template")}
    path = paths.get(workload.kind, ("spec", "template"))
    found: Any = workload.data
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return path, found if isinstance(found, dict) else {}

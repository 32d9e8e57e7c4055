"""What the policies are checked against: each other, and the workloads, Services and Namespaces that were given too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from drills.check.policies.case import Case, Element, Release, build, compiled, elements
from drills.check.policies.index import ByLabels
from drills.check.policies.kubernetes import AllowsLookups
from drills.check.policies.kubernetes import lookups as allow_lookups
from drills.check.world import (
    DEFAULT_NAMESPACE,
    NAME_LABEL,
    Manifest,
    World,
    mapping,
    mappings,
    named_ports,
    pod_template,
)
from drills.cilium.entries import CompiledRule
from drills.cilium.labels import NAMESPACE, SOURCE_K8S, Labels, identity_labels
from drills.cilium.peers import Services, ServiceTarget
from drills.cilium.ports import NamedPorts
from drills.cilium.selector import Operator, Selector


@dataclass(frozen=True, slots=True)
class Workload:
    """What makes pods, as Cilium knows them."""

    manifest: Manifest
    namespace: str
    labels: Labels  # of the pods' identity
    pod_labels: Mapping[str, str]
    ports: frozenset[int]
    named: NamedPorts
    on_node: bool  # on its node's network: policies for pods are not about it


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service, and the pods' port behind it: a number or a name."""

    port: int
    target: int | str
    protocol: str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service that selects pods."""

    name: str
    namespace: str
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...]


@dataclass(slots=True)
class Given:
    """Everything that the checks of policies look at."""

    release: Release
    cases: list[Case]
    workloads: list[Workload]
    services: dict[str, list[Service]]  # by namespace
    targets: Services
    namespaces: Mapping[str, Mapping[str, str]]  # the given Namespaces and their labels
    lookups: Sequence[AllowsLookups] = ()  # Kubernetes NetworkPolicies that allow DNS
    rules: Sequence[CompiledRule] = field(init=False)  # of every policy that Cilium imports
    elements: Sequence[Element] = field(init=False)  # the same, as they are written
    namespace_labels: frozenset[tuple[str, str]] = field(init=False)  # that some given Namespace has
    pod_labels: frozenset[tuple[str, str]] = field(init=False)  # that some given workload's pods have
    _pods: ByLabels[Workload] = field(init=False)
    _namespaces: frozenset[str] = field(init=False)  # of the workloads

    def __post_init__(self) -> None:
        self.rules = [rule for case in self.cases for rule in compiled(case, self.targets)]
        self.elements = [each for case in self.cases for each in elements(case, self.targets)]
        self.namespace_labels = frozenset(
            label for name in self.namespaces for label in namespace_labels(name, self.namespaces).items()
        )
        self.pod_labels = frozenset(label for each in self.workloads for label in each.pod_labels.items())
        self._pods = ByLabels((each for each in self.workloads if not each.on_node), lambda each: each.labels)
        self._namespaces = frozenset(each.namespace for each in self.workloads)

    def selected(self, selector: Selector) -> Iterator[Workload]:
        """The given workloads whose pods a selector selects; what is on its node's network has no labels to Cilium."""
        return (each for each in self._pods.candidates(selector) if selector.matches(each.labels))

    def on_node(self, selector: Selector) -> Iterator[Workload]:
        """Those that it would select if their pods were not on their node's network."""
        return (each for each in self.workloads if each.on_node and selector.matches(each.labels))

    def has_workloads(self, namespace: str | None) -> bool:
        """Whether workloads of a namespace (None: of any) were given."""
        return bool(self.workloads) if namespace is None else namespace in self._namespaces


def given(world: World) -> Given:
    """All of it, read once."""
    namespaces = {each.name: _texts(each.metadata.get("labels")) for each in world.of_kind("Namespace")}
    services: dict[str, list[Service]] = defaultdict(list)
    for manifest in world.of_kind("Service"):
        services[manifest.namespace or DEFAULT_NAMESPACE].append(_service(manifest))
    targets = {
        (each.namespace, each.name): ServiceTarget(each.selector or None)
        for found in services.values()
        for each in found
    }
    release = world.options.release
    cases = [build(each, release) for each in world.policies]
    workloads = [_workload(each, namespaces) for each in world.workloads]
    lookups = tuple(allow_lookups(world.of_kind("NetworkPolicy")))
    return Given(release, cases, workloads, services, targets, namespaces, lookups)


def namespace_labels(name: str, namespaces: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """The labels of a namespace: those that were given, and the one that each has."""
    return {**namespaces.get(name, {}), NAME_LABEL: name}


def _workload(manifest: Manifest, namespaces: Mapping[str, Mapping[str, str]]) -> Workload:
    _, template = pod_template(manifest)
    metadata, spec = mapping(template.get("metadata")), mapping(template.get("spec"))
    namespace = manifest.namespace or DEFAULT_NAMESPACE
    pod_labels = _texts(metadata.get("labels"))
    account = str(spec.get("serviceAccountName") or "default")
    labels = identity_labels(pod_labels, namespace, namespace_labels(namespace, namespaces), account)
    ports = [port for container in mappings(spec.get("containers")) for port in mappings(container.get("ports"))]
    numbers = frozenset(port["containerPort"] for port in ports if isinstance(port.get("containerPort"), int))
    named = named_ports(spec)
    on_node = spec.get("hostNetwork") is True
    return Workload(manifest, namespace, labels, pod_labels, numbers, MappingProxyType(named), on_node)


def _service(manifest: Manifest) -> Service:
    spec = mapping(manifest.data.get("spec"))
    ports = []
    for each in mappings(spec.get("ports")):
        port, target = each.get("port"), each.get("targetPort", each.get("port"))
        if isinstance(port, int) and isinstance(target, int | str):
            ports.append(ServicePort(port, target, str(each.get("protocol") or "TCP")))
    return Service(manifest.name, manifest.namespace or DEFAULT_NAMESPACE, _texts(spec.get("selector")), tuple(ports))


def _texts(found: Any) -> Mapping[str, str]:
    return {key: str(value) for key, value in mapping(found).items() if not isinstance(value, dict | list)}


def namespaces_of(selector: Selector) -> tuple[str, ...]:
    """The namespaces that a selector is pinned to; none where it is not."""
    for each in selector.requirements:
        if each.key == NAMESPACE and each.operator is Operator.IN and each.source != "reserved":
            return each.values
    return ()


def without_namespace(selector: Selector) -> Selector:
    """The selector as it would be if it were about pods of any namespace."""
    return Selector(tuple(each for each in selector.requirements if each.key != NAMESPACE))


def k8s(key: str) -> str:
    """A label of a pod, as an identity has it."""
    return f"{SOURCE_K8S}:{key}"

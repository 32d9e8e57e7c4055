"""What the policies are checked against: each other, and the workloads, Services and Namespaces that were given too.

Lookups go through indexes by label, so that the cost grows with the number of policies and not with its square.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from drills.check.policies.case import Case, Element, Release, build, compiled, elements
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
from drills.cilium.decide import EndpointPolicy, Policies
from drills.cilium.entries import CompiledRule
from drills.cilium.labels import NAMESPACE, SOURCE_K8S, Labels, identity_labels, split_key
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
    _rules: _RuleIndex = field(init=False)
    _pods: _PodIndex = field(init=False)
    _elements: list[Element] = field(init=False)

    def __post_init__(self) -> None:
        self._rules = _RuleIndex(rule for case in self.cases for rule in compiled(case, self.targets))
        self._pods = _PodIndex(self.workloads)
        self._elements = [each for case in self.cases for each in elements(case, self.targets)]

    @property
    def elements(self) -> list[Element]:
        """Every element of every policy that Cilium imports."""
        return self._elements

    def applies(self, labels: Labels) -> EndpointPolicy:
        """What applies to pods with these identity labels, of all given policies."""
        return Policies(self._rules.candidates(labels)).for_endpoint(labels)

    def selected(self, selector: Selector) -> list[Workload]:
        """The given workloads whose pods a selector selects."""
        return [each for each in self._pods.candidates(selector) if selector.matches(each.labels)]

    def has_workloads(self, namespace: str | None) -> bool:
        """Whether workloads of a namespace (None: of any) were given."""
        return bool(self.workloads) if namespace is None else namespace in self._pods.namespaces


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
    return Given(release, cases, workloads, services, targets, namespaces)


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
    return Workload(manifest, namespace, labels, pod_labels, numbers, MappingProxyType(named))


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


Label = tuple[str, str]  # bare key and value
Key = tuple[str | None, Label | None]  # a namespace and a label in it; None where a selector names none


class _RuleIndex:
    """Rules by what their subject must have: only those that can be about some labels are asked."""

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self._by_key: dict[Key, list[tuple[int, CompiledRule]]] = defaultdict(list)
        for number, rule in enumerate(rules):
            self._by_key[_key(rule.subject)].append((number, rule))

    def candidates(self, labels: Labels) -> tuple[CompiledRule, ...]:
        found = [each for key in _keys(labels) for each in self._by_key.get(key, ())]
        return tuple(rule for _, rule in sorted(found, key=lambda each: each[0]))


class _PodIndex:
    """Workloads by all that a selector may ask for: only those that have what it must find are asked."""

    def __init__(self, workloads: Iterable[Workload]) -> None:
        self._by_key: dict[Key, list[Workload]] = defaultdict(list)
        self.namespaces: set[str] = set()
        for workload in workloads:
            self.namespaces.add(workload.namespace)
            for key in _keys(workload.labels):
                self._by_key[key].append(workload)

    def candidates(self, selector: Selector) -> list[Workload]:
        return self._by_key.get(_key(selector), [])


def _key(selector: Selector) -> Key:
    """What whatever is selected must have: its namespace and one label."""
    equal = [each for each in selector.requirements if each.operator is Operator.IN and len(each.values) == 1]
    namespace = next((each.values[0] for each in equal if each.key == NAMESPACE), None)
    label = next(((each.key, each.values[0]) for each in equal if each.key != NAMESPACE), None)
    return namespace, label


def _keys(labels: Labels) -> set[Key]:
    """Every key under which a selector may stand that selects these labels."""
    bare = {(split_key(key)[1], value) for key, value in labels.items()}
    namespaces = {value for key, value in bare if key == NAMESPACE}
    return {(namespace, label) for namespace in (*namespaces, None) for label in (*bare, None)}


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

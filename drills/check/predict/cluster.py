"""The cluster that the given manifests make: namespaces, pods, Services and the policies that Cilium would accept.

What is not among the manifests is unknown, and so is everything that would depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from drills.check.policies.case import SECTIONS, Case, Release, build, compiled
from drills.check.world import DEFAULT_NAMESPACE, NAME_LABEL, Manifest, World, mappings, named_ports, pod_template
from drills.cilium.decide import EndpointPolicy, Policies
from drills.cilium.entries import CompiledRule, Entry, PolicyRef
from drills.cilium.labels import CLUSTER, NAMESPACE_LABELS, Labels, identity_labels
from drills.cilium.peers import Services, ServiceTarget, UnmodelledPeer
from drills.cilium.policy import CNP
from drills.cilium.ports import NamedPorts
from drills.source import KeyPath

_ASKED: Final = re.compile(rf"{re.escape(CLUSTER)}|{re.escape(NAMESPACE_LABELS)}\.(?!{re.escape(NAME_LABEL)}\b)[^'\"]+")
SEVERAL: Final = 2  # pods of a DaemonSet: one on every node, and a cluster has more than one


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod, or what makes pods that are all alike."""

    manifest: Manifest
    namespace: str
    labels: Mapping[str, str]
    account: str
    named_ports: NamedPorts
    host_network: bool
    replicas: int

    @property
    def title(self) -> str:
        return f"{self.manifest.kind} {self.namespace}/{self.manifest.name}"


@dataclass(frozen=True, slots=True)
class Service:
    """A Service as far as policy matters: whom it selects, and where its ports lead."""

    manifest: Manifest
    namespace: str
    name: str
    selector: Mapping[str, str]
    headless: bool
    external: bool
    ports: Mapping[int, int | str]  # to targetPort: a number, or the name of a container's port

    def behind(self, port: int) -> int | str | None:
        """Where a port leads in the pods; None where the Service does not have it."""
        return port if self.headless else self.ports.get(port)


@dataclass(frozen=True)
class Cluster:
    """Everything that is known. ``others`` are namespaces with a Kubernetes NetworkPolicy, which is not modelled.

    ``policies`` are those in force with the default settings of the release; ``with_settings`` is the same cluster with
    those in force, too, that a setting makes valid (None where there are none). ``rejected`` are those that the API
    does not even store.
    """

    namespaces: Mapping[str, Mapping[str, str]]
    workloads: Sequence[Workload]
    services: Mapping[tuple[str, str], Service]
    release: Release
    policies: Policies
    cases: Mapping[PolicyRef, Case]  # what is stored of each policy
    rejected: frozenset[PolicyRef]
    others: frozenset[str]
    with_settings: Cluster | None = None
    asks_namespaces: bool = False  # a policy asks for labels of namespaces
    asks_cluster: bool = False  # a policy asks for the cluster's name

    @classmethod
    def of(cls, world: World) -> Cluster:
        """The cluster of a world; policies that are no policies at all are left out (they are findings elsewhere)."""
        services = {(each.namespace, each.name): each for each in map(_service, world.of_kind("Service")) if each}
        release = world.options.release
        built = [build(each, release) for each in world.policies]
        cases = {_ref(each): each for each in built if each.stored is not None}  # of two by one name the last one
        asked = {found for each in cases.values() for found in _ASKED.findall(repr(each.manifest.data))}
        workloads = (each for each in map(_workload, world.workloads) if each is not None)
        by_default = cls(
            namespaces={each.name: _strings(each.metadata.get("labels")) for each in world.of_kind("Namespace")},
            workloads=list({each.title: each for each in workloads}.values()),
            services=services,
            release=release,
            policies=_policies((each for each in cases.values() if not each.depends), _targets(services)),
            cases=cases,
            rejected=frozenset(_ref(each) for each in built if each.stored is None),
            others=frozenset(namespace_of(each) for each in world.of_kind("NetworkPolicy")),
            asks_namespaces=any(each != CLUSTER for each in asked),
            asks_cluster=CLUSTER in asked,
        )
        if not any(each.depends for each in cases.values()):
            return by_default
        return replace(
            by_default, with_settings=replace(by_default, policies=_policies(cases.values(), _targets(services)))
        )

    def unknown(self, namespace: str) -> str | None:
        """Why nothing can be said of pods in a namespace; None where all that policies ask of them is known."""
        if namespace in self.others:
            return f"namespace {namespace} has a Kubernetes NetworkPolicy, which is not modelled"
        if self.asks_namespaces and namespace not in self.namespaces:
            return f"policies ask for labels of namespaces, and Namespace {namespace} is not among the manifests"
        return "policies ask for the cluster's name" if self.asks_cluster else None

    def knows(self, namespace: str) -> bool:
        """Whether the manifests of a namespace are given: at least one workload or Service in it."""
        return namespace in self._given

    @cached_property
    def other_protocols(self) -> frozenset[PolicyRef]:
        """Policies with rules for Kafka and the like, which earlier releases enforce and this model does not know."""
        return frozenset(ref for ref, case in self.cases.items() if case.removed)

    @cached_property
    def _given(self) -> frozenset[str]:
        return frozenset([each.namespace for each in self.workloads] + [key[0] for key in self.services])

    def identity(self, labels: Mapping[str, str], namespace: str, account: str | None) -> Labels:
        """The identity labels of a pod."""
        own = {NAME_LABEL: namespace, **self.namespaces.get(namespace, {})}
        return identity_labels(labels, namespace, own, account or "default")

    def elements_of(self, ref: PolicyRef) -> Iterator[tuple[KeyPath, Policies]]:
        """The policy with one element of one section at a time, and where that element stands."""
        case = self.cases.get(ref)
        if case is None:  # Cilium itself
            return
        for path, data in _alone(case.manifest.data):
            alone = build(replace(case.manifest, data=data), self.release)
            yield path, _policies([alone], _targets(self.services))

    def endpoint(self, labels: Labels) -> EndpointPolicy:
        """What applies to a pod with these identity labels."""
        key = tuple(labels.items())
        if key not in self._endpoints:
            self._endpoints[key] = self.policies.for_endpoint(labels)
        return self._endpoints[key]

    @cached_property
    def _endpoints(self) -> dict[tuple[tuple[str, str], ...], EndpointPolicy]:
        return {}

    def pods_of(self, service: Service) -> list[Workload]:
        """The workloads behind a Service; none for one without a selector."""
        if not service.selector:
            return []
        return [
            each
            for each in self.workloads
            if each.namespace == service.namespace and service.selector.items() <= each.labels.items()
        ]

    def like(self, namespace: str, labels: Mapping[str, str]) -> list[Workload]:
        """The workloads of a namespace whose pods have at least these labels."""
        here = (each for each in self.workloads if each.namespace == namespace)
        return [each for each in here if labels.items() <= each.labels.items()]


def namespace_of(manifest: Manifest) -> str:
    """Where the object goes: what is left to kubectl's context goes to ``default``."""
    return manifest.namespace or DEFAULT_NAMESPACE


def _ref(case: Case) -> PolicyRef:
    return PolicyRef(case.kind, namespace_of(case.manifest) if case.kind == CNP else None, case.manifest.name)


def _alone(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    specs: list[tuple[KeyPath, Any]] = [(("spec",), data.get("spec"))]
    listed = data.get("specs")
    specs += [(("specs", index), each) for index, each in enumerate(listed if isinstance(listed, list) else ())]
    rest = {key: value for key, value in data.items() if key not in ("spec", "specs")}
    for path, spec in specs:
        for section in SECTIONS if isinstance(spec, dict) else ():
            kept = {key: spec[key] for key in spec if key not in SECTIONS}
            elements = spec.get(section)
            for index, element in enumerate(elements if isinstance(elements, list) else ()):
                yield (*path, section, index), {**rest, "spec": {**kept, section: [element]}}


def _policies(cases: Iterable[Case], services: Services) -> Policies:
    """What is in force of the policies, and what Cilium refuses."""
    known = list(cases)
    rules = [_with_requires(rule, case) for case in known for rule in compiled(case, services)]
    return Policies(tuple(rules), tuple((_ref(case), "\n".join(case.unimported)) for case in known if case.unimported))


def _with_requires(rule: CompiledRule, case: Case) -> CompiledRule:
    """A rule that says that it is not all modelled, where ``fromRequires`` or ``toRequires`` narrow its peers."""
    if not case.requires:
        return rule
    return replace(rule, allow=(*rule.allow, Entry(UnmodelledPeer("required labels"), None, rule.origin)))


def _workload(manifest: Manifest) -> Workload | None:
    _, template = pod_template(manifest)
    spec, metadata = template.get("spec"), template.get("metadata")
    if not isinstance(spec, dict):
        return None
    labels = _strings(metadata.get("labels")) if isinstance(metadata, dict) else {}
    return Workload(
        manifest=manifest,
        namespace=namespace_of(manifest),
        labels=labels,
        account=str(spec.get("serviceAccountName") or "default"),
        named_ports=named_ports(spec),
        host_network=spec.get("hostNetwork") is True,
        replicas=_replicas(manifest),
    )


def _replicas(manifest: Manifest) -> int:
    if manifest.kind == "DaemonSet":
        return SEVERAL
    spec = manifest.data.get("spec")
    found = spec.get("replicas", 1) if isinstance(spec, dict) and manifest.kind != "Pod" else 1
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else 1


def _service(manifest: Manifest) -> Service | None:
    spec = manifest.data.get("spec")
    if not isinstance(spec, dict):
        return None
    ports = {
        port["port"]: _target_port(port)
        for port in mappings(spec.get("ports"))
        if isinstance(port.get("port"), int) and port.get("protocol") in (None, "TCP")
    }
    return Service(
        manifest=manifest,
        namespace=namespace_of(manifest),
        name=manifest.name,
        selector=_strings(spec.get("selector")),
        headless=spec.get("clusterIP") == "None",
        external=spec.get("type") == "ExternalName",
        ports=ports,
    )


def _target_port(port: Mapping[str, Any]) -> int | str:
    found = port.get("targetPort")
    if isinstance(found, int | str) and not isinstance(found, bool):
        return int(found) if isinstance(found, str) and found.isdecimal() else found
    return int(port["port"])


def _targets(services: Mapping[tuple[str, str], Service]) -> Services:
    return {
        key: ServiceTarget(each.selector or None, _strings(each.manifest.metadata.get("labels")))
        for key, each in services.items()
    }


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(key): str(item) for key, item in value.items() if isinstance(item, str | int | float)}

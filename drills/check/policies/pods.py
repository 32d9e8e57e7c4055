"""Policies against the given workloads and Services: whom they select, and on which port these really listen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import samples, words
from drills.check.policies.case import Case, Element, ports_of, subject
from drills.check.policies.examples import deployment, documents, ingress, policy
from drills.check.policies.given import Given, Service, ServicePort, Workload, namespaces_of
from drills.check.policies.namespaces import contradicts
from drills.check.world import DEFAULT_NAMESPACE
from drills.cilium import policy as schema
from drills.cilium.decide import INGRESS
from drills.cilium.labels import NAMESPACE, SOURCE_K8S, Labels, split_key
from drills.cilium.peers import EndpointSelectorPeer
from drills.cilium.ports import is_service_name
from drills.cilium.selector import Selector
from drills.source import KeyPath

_SERVICE: Final = """\
apiVersion: v1
kind: Service
metadata: {name: api, namespace: backend}
spec:
  selector: {app: api}
  ports: [{port: 80, targetPort: 8080}]
"""
NOBODY = Rule(
    name="cilium/selects-nothing",
    level=Level.WARNING,
    title="A policy that selects no pod",
    problem="Workloads of the policy's namespace were given, and the endpointSelector selects none of their pods, or "
    "only such as are on their node's network (`hostNetwork`).",
    effect="The policy is in force for nobody: the pods that it was to protect are as open as before.",
    fix="Use a label of the pod template (`spec.template.metadata.labels`, not the workload's own labels).",
    wrong=documents(
        policy("endpointSelector: {matchLabels: {app: ap}}\ningress: [{}]\n"), deployment("api", "backend")
    ),
    right=documents(
        policy("endpointSelector: {matchLabels: {app: api}}\ningress: [{}]\n"), deployment("api", "backend")
    ),
    source="Cilium 1.20 pkg/policy/repository.go",
)
PORT = Rule(
    name="cilium/service-port",
    level=Level.WARNING,
    title="The Service's port, where the pods listen on another",
    problem="A policy acts after Service translation: its ports are the pods' (`targetPort`), not the Service's.",
    effect="The port that is allowed is one that nobody listens on; the one that is used is denied.",
    fix="Write the Service's targetPort into the policy.",
    wrong=documents(
        ingress('- fromEndpoints: [{}]\n  toPorts: [{ports: [{port: "80", protocol: TCP}]}]\n'),
        deployment("api", "backend", port=8080),
        _SERVICE,
    ),
    right=documents(
        ingress('- fromEndpoints: [{}]\n  toPorts: [{ports: [{port: "8080", protocol: TCP}]}]\n'),
        deployment("api", "backend", port=8080),
        _SERVICE,
    ),
    source="Cilium documentation, Layer 4 policies; Cilium 1.20 pkg/policy/api/l4.go",
)
CLUSTERWIDE = Rule(
    name="cilium/clusterwide-default-deny",
    level=Level.WARNING,
    title="Default deny for every pod of the cluster",
    problem="A CiliumClusterwideNetworkPolicy with an empty endpointSelector selects all pods of all namespaces, "
    "kube-system among them.",
    effect="DNS, metrics, webhooks and operators fall into default deny too, at once.",
    fix="Leave namespaces out by a condition on io.kubernetes.pod.namespace (NotIn kube-system, ...), or say "
    "`enableDefaultDeny` with false.",
    wrong=policy(
        "endpointSelector: {}\ningress: [{fromEntities: [cluster]}]\n",
        kind=schema.CCNP,
        namespace=None,
        name="baseline",
    ),
    right=policy(
        "endpointSelector: {}\nenableDefaultDeny: {ingress: false, egress: false}\n"
        "ingress: [{fromEntities: [cluster]}]\n",
        kind=schema.CCNP,
        namespace=None,
        name="baseline",
    ),
    source="Cilium 1.20 pkg/policy/repository.go; documentation, Endpoints lifecycle and default deny",
)
RULES = (NOBODY, PORT, CLUSTERWIDE)


def check(given: Given) -> Iterator[Finding]:
    """Policies that miss the pods they are about."""
    for case in given.cases:
        if case.effective is not None:
            yield from _selects(case, given)
    for element in given.elements:
        yield from _ports(element, given)
    yield from _clusterwide(given)


def _selects(case: Case, given: Given) -> Iterator[Finding]:
    namespace = case.stored.namespace if case.stored else None
    if not given.has_workloads(namespace):
        return
    for at, rule in case.rules():
        if rule.endpoint_selector is None:
            continue
        selector = subject(case, rule)
        only = namespaces_of(selector)
        if (
            any(given.selected(selector))
            or contradicts(selector)
            or (only and not any(given.has_workloads(each) for each in only))
        ):
            continue
        place = case.manifest.key_place(*at, "endpointSelector")
        where = f"namespace {namespace}" if namespace else "any namespace"
        effect = f"The policy is in force for nobody: no given workload of {where} makes {words.pods(selector)}."
        text, fix = f"no given workload has {words.pods(selector)}", None
        on_node = next(given.on_node(selector), None)
        if on_node is not None:
            text = f"{on_node.manifest} is on its node's network, where policies for pods do not apply"
            effect = "The policy is in force for nobody: to Cilium such a pod is its node (entity host or remote-node)."
            fix = "Leave hostNetwork out of the pod, or write a host policy (nodeSelector, with the host firewall on)."
        yield NOBODY.at(place, text, effect=effect, fix=fix, span=len("endpointSelector"))


def _clusterwide(given: Given) -> Iterator[Finding]:
    said: set[tuple[int, KeyPath]] = set()
    for element in given.elements:
        key = (id(element.case), element.at)
        if element.case.kind != schema.CCNP or element.subject.requirements or not element.default_deny or key in said:
            continue
        said.add(key)
        traffic = words.TRAFFIC[element.direction]
        effect = f"Every pod of every namespace, kube-system too, is in default deny for {traffic}."
        place = element.case.manifest.key_place(*element.at, "endpointSelector")
        text = "default deny for every pod of the cluster"
        yield CLUSTERWIDE.at(place, text, effect=effect, span=len("endpointSelector"))


# --- ports ------------------------------------------------------------------------------------------------------------


def _ports(element: Element, given: Given) -> Iterator[Finding]:
    if not given.services:
        return
    wanted = [
        ((*element.path, "toPorts", index, "ports", number, "port"), port.port, port.protocol or "ANY")
        for index, rule in enumerate(ports_of(element))
        for number, port in enumerate(rule.ports or ())
        if port.port and port.port.isdecimal() and not is_service_name(port.port) and not port.end_port
    ]
    numbers = {int(number) for _, number, _ in wanted}
    for target in _targets(element) if wanted else ():
        for path, number, protocol in wanted:
            found = _translated(int(number), protocol, target, given)
            if found is not None and found[1] not in numbers:
                yield _port(element, path, number, *found)


def _targets(element: Element) -> list[Selector]:
    """The pods at which the ports are: the rule's own on ingress, the peers on egress."""
    if element.direction == INGRESS:
        return [element.subject]
    peers = dict.fromkeys(each.peer for each in element.entries if isinstance(each.peer, EndpointSelectorPeer))
    return [each.selector for each in peers]


def _port(element: Element, path: KeyPath, number: str, service: Service, real: int) -> Finding:
    effect = (
        f"Connections to Service {service.name}.{service.namespace}:{number} reach the pods on {real}, which this rule "
        f"does not {'deny' if element.denies else 'allow'}."
    )
    text = f"{number} is the port of Service {service.name}; its pods listen on {real}"
    place = element.case.manifest.place(*path)
    return PORT.at(place, text, effect=effect, fix=f'Write port: "{real}".', span=len(number) + 2)


def _translated(number: int, protocol: str, target: Selector, given: Given) -> tuple[Service, int] | None:
    """The Service that has this port, and the other one on which its pods listen; None if a pod listens on this one."""
    if not any(port.port == number != port.target for found in given.services.values() for each in found
               for port in each.ports):  # fmt: skip
        return None
    pods = list(given.selected(target))
    if any(number in each.ports for each in pods):
        return None
    known: list[tuple[Labels, Workload | None]] = [(each.labels, each) for each in pods]
    known = known or [(each, None) for each in samples.pods(target)]
    behind = [
        (service, port, _number(port, workload))
        for labels, workload in known
        for service in _services(labels, given)
        for port in service.ports
    ]
    if any(real == number for _, _, real in behind):
        return None
    for service, port, real in behind:
        if port.port == number and real is not None and protocol in {"ANY", port.protocol}:
            return service, real
    return None


def _services(labels: Labels, given: Given) -> list[Service]:
    own = labels.get(f"{SOURCE_K8S}:{NAMESPACE}", DEFAULT_NAMESPACE)
    return [each for each in given.services.get(own, ()) if each.selector and _fits(each.selector, labels)]


def _fits(selector: Mapping[str, str], labels: Labels) -> bool:
    bare = {split_key(key)[1]: value for key, value in labels.items()}
    return all(bare.get(key) == value for key, value in selector.items())


def _number(port: ServicePort, workload: Workload | None) -> int | None:
    """The pods' port behind a port of a Service; None where a name cannot be resolved."""
    if isinstance(port.target, int):
        return port.target
    return workload.named.get((port.target.lower(), port.protocol)) if workload else None

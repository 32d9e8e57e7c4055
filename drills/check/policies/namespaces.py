"""Namespaces: where a policy is, and in which namespace its peers are looked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import words
from drills.check.policies.case import Case, Element, subject
from drills.check.policies.examples import api, deployment, documents, ingress, policy
from drills.check.policies.given import Given, k8s, namespaces_of
from drills.cilium import policy as schema
from drills.cilium.labels import NAMESPACE, NAMESPACE_LABELS, SOURCE_RESERVED, identity_relevant, split_key
from drills.cilium.parts import LabelSelector
from drills.cilium.selector import Operator, Requirement, Selector, peer_selector, plain
from drills.source import KeyPath

_UTILS: Final = "Cilium 1.20 pkg/k8s/apis/cilium.io/utils/utils.go (getEndpointSelector)"
_SYSTEM: Final = "kube-system"

NO_NAMESPACE = Rule(
    name="cilium/no-namespace",
    level=Level.WARNING,
    title="A policy without a namespace",
    problem="The policy goes into whatever namespace kubectl's context names; `default` where it names none.",
    effect="It selects pods of that namespace only, and its peers without a namespace label are of that namespace too.",
    fix="Write `metadata.namespace`. For pods of several namespaces there is CiliumClusterwideNetworkPolicy.",
    wrong=policy(
        "endpointSelector: {matchLabels: {app: api}}\ningress: [{fromEndpoints: [{matchLabels: {app: web}}]}]\n",
        namespace=None,
    ),
    right=ingress("- fromEndpoints: [{matchLabels: {app: web}}]\n"),
    source="Kubernetes API conventions; " + _UTILS,
)
OWN = Rule(
    name="cilium/peer-in-own-namespace",
    level=Level.WARNING,
    title="A peer that lives in another namespace is looked for in the policy's own",
    problem="A selector in a CiliumNetworkPolicy means pods of the policy's namespace, unless it carries "
    "`io.kubernetes.pod.namespace` or a label of the namespace (`io.cilium.k8s.namespace.labels.<label>`). From Cilium "
    "1.19 on it also means pods of this cluster only.",
    effect="The selector means nobody, and the traffic that it was to allow is denied.",
    fix="Add `io.kubernetes.pod.namespace: <namespace>` to the selector's matchLabels.",
    wrong=documents(
        ingress("- fromEndpoints: [{matchLabels: {app: web}}]\n"),
        deployment("api", "backend"),
        deployment("web", "frontend"),
    ),
    right=documents(
        ingress("- fromEndpoints: [{matchLabels: {app: web, io.kubernetes.pod.namespace: frontend}}]\n"),
        deployment("api", "backend"),
        deployment("web", "frontend"),
    ),
    source=_UTILS,
)
LABEL = Rule(
    name="cilium/namespace-label",
    level=Level.WARNING,
    title="A namespace label that no namespace has",
    problem="The selector names namespaces by a label that none of the given Namespaces carries. Kubernetes itself "
    "sets only `kubernetes.io/metadata.name`; `name` is nobody's label unless somebody wrote it. Or it says "
    "`namespace` or `kubernetes.io/metadata.name` without Cilium's prefix, and so asks for a label of the pods.",
    effect="The selector means nobody.",
    fix="Use `io.kubernetes.pod.namespace: <namespace>`, or label the namespace.",
    wrong=ingress("- fromEndpoints: [{matchLabels: {app: web, io.cilium.k8s.namespace.labels.name: frontend}}]\n"),
    right=ingress("""\
        - fromEndpoints:
          - matchLabels: {app: web, io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name: frontend}
        """),
    source="Kubernetes documentation, Automatic labelling of namespaces; " + _UTILS,
)
SUBJECT = Rule(
    name="cilium/foreign-subject",
    level=Level.ERROR,
    title="A policy that wants to select pods of another namespace",
    problem="The endpointSelector of a CiliumNetworkPolicy names another namespace than the policy's own.",
    effect="The policy stays in its own namespace, which Cilium adds to the selector: nobody is in both. (Written with "
    "the source, `k8s:io.kubernetes.pod.namespace`, it is ignored, and pods of the policy's own namespace are meant.)",
    fix="Put the policy into that namespace, or use a CiliumClusterwideNetworkPolicy.",
    wrong=policy("endpointSelector: {matchLabels: {app: api, io.kubernetes.pod.namespace: shop}}\ningress: [{}]\n"),
    right=policy("endpointSelector: {matchLabels: {app: api}}\ningress: [{}]\n", namespace="shop"),
    source=_UTILS,
)
IRRELEVANT = Rule(
    name="cilium/label-without-identity",
    level=Level.WARNING,
    title="A label that Cilium does not keep for identities",
    problem="By default Cilium leaves some labels of Kubernetes out of identities (`pod-template-hash`, "
    "`statefulset.kubernetes.io/pod-name`, `topology.kubernetes.io/...`): selectors cannot see them.",
    effect="The selector means nobody.",
    fix="Select by a label of the application; or add the label to Cilium's `labels` setting.",
    wrong=api("ingress: [{fromEndpoints: [{matchLabels: {statefulset.kubernetes.io/pod-name: web-0}}]}]\n"),
    right=api("ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]\n"),
    source="Cilium documentation, Limiting Identity-Relevant Labels; pkg/labelsfilter/filter.go of 1.20",
)
RULES = (NO_NAMESPACE, OWN, LABEL, SUBJECT, IRRELEVANT)
_DNS: Final = ("kube-dns", "coredns", "node-local-dns")


def check(given: Given) -> Iterator[Finding]:
    """Where policies and peers are."""
    for case in given.cases:
        if case.kind == schema.CNP and case.stored is not None:
            yield from _no_namespace(case)
            yield from _foreign(case)
    for element in given.elements:
        for path, selector in selectors(element):
            yield from _peer(element, path, selector, given)
            yield from _labels(element.case, path, selector, given)
    for case in given.cases:
        for at, rule in case.rules() if case.effective else ():
            if rule.endpoint_selector:
                yield from _irrelevant(case, (*at, "endpointSelector"), rule.endpoint_selector)


def selectors(element: Element) -> Iterator[tuple[KeyPath, LabelSelector]]:
    """The selectors of ``fromEndpoints`` or ``toEndpoints``, and where they stand."""
    key = "fromEndpoints" if element.section.startswith("ingress") else "toEndpoints"
    found = getattr(element.model, "from_endpoints" if key == "fromEndpoints" else "to_endpoints")
    for index, selector in enumerate(found or ()):
        yield (*element.path, key, index), selector


def _no_namespace(case: Case) -> Iterator[Finding]:
    if case.manifest.namespace:
        return
    wanted = [rule.endpoint_selector for _, rule in case.rules() if rule.endpoint_selector]
    who = words.listed(f"pods {found}" if found.requirements else "all pods" for found in map(plain, wanted))
    peers = [
        str(plain(each))
        for _, rule in case.rules()
        for element in (*(rule.ingress or ()), *(rule.egress or ()))
        for each in (getattr(element, "from_endpoints", None) or getattr(element, "to_endpoints", None) or ())
        if not plain(each).has_key(NAMESPACE, "k8s", "any")
    ]
    also = f", and so are its peers ({words.listed(peers)})" if peers else ""
    effect = (
        f"It lands in the namespace of kubectl's context, or in `default`: {who} of that namespace are meant{also}."
    )
    place = case.manifest.key_place("metadata")
    yield NO_NAMESPACE.at(place, f"{case.name} has no namespace", effect=effect, span=len("metadata"))


def _foreign(case: Case) -> Iterator[Finding]:
    own = case.stored.namespace if case.stored else None
    for at, rule in case.rules():
        for key, value in ((rule.endpoint_selector and rule.endpoint_selector.match_labels) or {}).items():
            if split_key(key)[1] != NAMESPACE or value == own or not case.manifest.namespace:
                continue
            meant = subject(case, rule)
            if contradicts(meant):
                effect = f"The policy is in force for nobody: no pod is both in {own} and in {value}."
            else:
                effect = f"Cilium ignores it, with a warning in the agent's log: {words.pods(meant)} are meant."
            place = case.manifest.place(*at, "endpointSelector", "matchLabels", key)
            yield SUBJECT.at(place, f"a policy of {own} cannot select pods of {value}", effect=effect, span=len(value))


def contradicts(selector: Selector) -> bool:
    """Whether a selector asks for two namespaces at once."""
    wanted = {each.values for each in selector.requirements if each.key == NAMESPACE and each.operator is Operator.IN}
    return len(wanted) > 1


def _peer(element: Element, path: KeyPath, selector: LabelSelector, given: Given) -> Iterator[Finding]:
    """A selector that Cilium pins to the policy's namespace, where nobody is whom it could mean."""
    own = element.case.stored.namespace if element.case.stored else None
    written, meant = plain(selector), peer_selector(selector, own)
    if own is None or namespaces_of(written) or namespaces_of(meant) != (own,):
        return
    elsewhere = _elsewhere(written, meant, own, given)
    if not elsewhere:
        return
    traffic, way = words.TRAFFIC[element.direction], "from" if element.section.startswith("ingress") else "to"
    where = words.listed(elsewhere, "or")
    missed = (
        f"{traffic} {way} those of {where} is not denied" if element.denies else f"those of {where} are not allowed"
    )
    effect = f"The selector means pods {written} of namespace {own}, where there are none: {missed}."
    fix = f"Add io.kubernetes.pod.namespace: {elsewhere[0]} to matchLabels."
    place = element.case.manifest.place(*path)
    yield OWN.at(place, f"pods {written} are in namespace {where}, and are looked for in {own}", effect=effect, fix=fix)


def _elsewhere(written: Selector, meant: Selector, own: str, given: Given) -> list[str]:
    """The namespaces where there are such pods, if the policy's own has none."""
    if not written.requirements:
        return []
    if given.has_workloads(own):
        if any(given.selected(meant)):
            return []
        others = sorted({each.namespace for each in given.selected(written)} - {own})
        if others:
            return others
    is_dns = any(_equal(each, "k8s-app") and each.values[0] in _DNS for each in written.requirements)
    return [_SYSTEM] if is_dns and own != _SYSTEM else []


def _equal(requirement: Requirement, key: str) -> bool:
    return requirement.key == key and requirement.operator is Operator.IN and len(requirement.values) == 1


def _labels(case: Case, path: KeyPath, selector: LabelSelector, given: Given) -> Iterator[Finding]:
    """Labels of namespaces that no namespace has, and labels that are in no identity."""
    prefix = f"{NAMESPACE_LABELS}."
    for key, value in (selector.match_labels or {}).items():
        bare = split_key(key)[1]
        if bare in _MEANT and (bare, value) not in given.pod_labels:
            yield _pods_label(case, path, key, value)
        if not bare.startswith(prefix):
            continue
        label = bare.removeprefix(prefix)
        known = bool(given.namespaces)
        nobody = known and (label, value) not in given.namespace_labels
        if nobody and label == "kubernetes.io/metadata.name":
            continue  # the namespace may be somebody else's
        if nobody or (not known and label == "name"):
            where = "no given Namespace has it" if known else "Kubernetes sets no label `name`"
            effect = f"The selector means nobody, unless somebody labelled a namespace {label}={value}: {where}."
            place = case.manifest.key_place(*path, "matchLabels", key)
            yield LABEL.at(place, f"namespace label {label}={value}", effect=effect, span=len(key))
    yield from _irrelevant(case, path, selector)


# Keys that people write for the namespace; in a selector of pods they are labels of pods like any other.
_MEANT: Final = ("namespace", "kubernetes.io/metadata.name", "kubernetes.io/namespace", "io.kubernetes.namespace")


def _pods_label(case: Case, path: KeyPath, key: str, value: str) -> Finding:
    own = f"namespace {case.stored.namespace}" if case.stored and case.stored.namespace else "any namespace"
    effect = f"The selector means pods of {own} that have a label {key}={value} themselves; pods do not, by themselves."
    fix = f"For pods of namespace {value} write {NAMESPACE}: {value} in its place."
    place = case.manifest.key_place(*path, "matchLabels", key)
    return LABEL.at(place, f"{key} is a label of pods here", effect=effect, fix=fix, span=len(key))


def _irrelevant(case: Case, path: KeyPath, selector: LabelSelector) -> Iterator[Finding]:
    keys: list[tuple[KeyPath, str]] = [(("matchLabels", key), key) for key in selector.match_labels or {}]
    keys += [
        (("matchExpressions", index, "key"), each.key)
        for index, each in enumerate(selector.match_expressions or ())
        if each.operator in {"In", "Exists"}
    ]
    for below, key in keys:
        source, bare = split_key(key)
        told = bare in _MEANT and path[-1] != "endpointSelector"
        known = source == SOURCE_RESERVED or bare.startswith(NAMESPACE_LABELS)
        if told or known or identity_relevant(bare):
            continue
        if below[0] == "matchLabels":
            place = case.manifest.key_place(*path, *below)
        else:
            place = case.manifest.place(*path, *below)
        text = f"{bare} is no label of an identity"
        effect = f"The selector means nobody: with Cilium's default label filter no identity has {k8s(bare)}."
        yield IRRELEVANT.at(place, text, effect=effect, span=len(key))

"""Who lets an attempt through: the very element of the policy that allows it, found by trying each one alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drills.check.predict.cluster import Cluster, with_namespace
from drills.check.predict.outcome import Prediction
from drills.check.world import Manifest
from drills.cilium.decide import Flow, Policies, Verdict, decide
from drills.cilium.entries import PolicyRef
from drills.errors import Place
from drills.source import KeyPath


def allowed_by(found: Prediction, cluster: Cluster) -> str:
    """What allows an attempt, in words: the policy and the line, or that no policy is about the target."""
    flow = found.flow
    if flow is None or found.source is None:
        return "because no policy looks at the lookup" if not found.by else f"by {_listed(found.by)}"
    inside = found.workload is not None
    subject = flow.destination.identity.labels if found.workload is not None else found.source
    endpoint = cluster.endpoint(subject)
    policy = endpoint.ingress if inside else endpoint.egress
    who = found.workload.title if found.workload is not None else "the source"
    direction = "ingress" if inside else "egress"
    if not policy.enforced:
        return f"because no policy that Cilium accepts restricts the {direction} of {who}{_refused(cluster, found)}"
    if not policy.default_deny_by:
        return f"because no policy puts {who} in default deny for {direction}"
    lines = [each for ref in found.by for each in _lines(ref, flow, direction, cluster)]
    if lines:
        return f"because {' and '.join(lines)} allows it"
    return f"because {_listed(found.by)} allows it"


def _listed(refs: tuple[PolicyRef, ...]) -> str:
    return ", ".join(str(each) for each in refs)


def _refused(cluster: Cluster, found: Prediction) -> str:
    namespace = None if found.workload is None else found.workload.namespace
    here = [ref for ref, _ in cluster.policies.refused if ref.namespace == namespace]
    return f" (Cilium refuses {_listed(tuple(here))})" if here else ""


def _lines(ref: PolicyRef, flow: Flow, direction: str, cluster: Cluster) -> Iterator[str]:
    manifest = cluster.manifests.get(ref)
    if manifest is None:
        return
    for path, alone in _elements(manifest, direction):
        policy = Policies.build([alone])
        if _allows(policy, flow, direction):
            yield f"{ref} ({_short(manifest.place(*path))})"
            return


def _elements(manifest: Manifest, direction: str) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The policy with one element of one direction at a time, and where that element stands."""
    whole = with_namespace(manifest)
    specs: list[tuple[KeyPath, Any]] = [(("spec",), whole.get("spec"))]
    listed = whole.get("specs")
    specs += [(("specs", index), each) for index, each in enumerate(listed if isinstance(listed, list) else ())]
    rest = {key: value for key, value in whole.items() if key not in ("spec", "specs")}
    for path, spec in specs:
        elements = spec.get(direction) if isinstance(spec, dict) else None
        for index, element in enumerate(elements if isinstance(elements, list) else ()):
            kept = {key: spec[key] for key in spec if key not in ("ingress", "egress", "ingressDeny", "egressDeny")}
            yield (*path, direction, index), {**rest, "spec": {**kept, direction: [element]}}


def _allows(policy: Policies, flow: Flow, direction: str) -> bool:
    if direction == "ingress":
        rules = policy.for_endpoint(flow.destination.identity.labels).ingress
        return rules.enforced and decide(flow, None, rules).verdict is Verdict.ALLOWED
    rules = policy.for_endpoint(flow.source.identity.labels).egress
    return rules.enforced and decide(flow, rules, None).verdict is Verdict.ALLOWED


def _short(place: Place) -> str:
    return f"{place.file}:{place.line}"

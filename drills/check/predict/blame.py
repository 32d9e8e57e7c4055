"""Who lets an attempt through: the very element of the policy that allows it, found by trying each one alone."""

from __future__ import annotations

from collections.abc import Iterator

from drills.check.predict.cluster import Cluster
from drills.check.predict.outcome import Prediction
from drills.cilium.decide import Flow, Policies, Verdict, decide
from drills.cilium.entries import PolicyRef
from drills.errors import Place


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
    """Policies of the target's namespace that are not in force, and who refuses them."""
    namespace = None if found.workload is None else found.workload.namespace
    refused = {
        "Cilium": tuple(ref for ref, _ in cluster.policies.refused if ref.namespace == namespace),
        "the API": tuple(sorted((ref for ref in cluster.rejected if ref.namespace == namespace), key=str)),
    }
    texts = [f"{who} refuses {_listed(refs)}" for who, refs in refused.items() if refs]
    return f" ({', '.join(texts)})" if texts else ""


def _lines(ref: PolicyRef, flow: Flow, direction: str, cluster: Cluster) -> Iterator[str]:
    for path, alone in cluster.elements_of(ref):
        if path[-2] == direction and _allows(alone, flow, direction):
            yield f"{ref} ({_short(cluster.cases[ref].manifest.place(*path))})"
            return


def _allows(policy: Policies, flow: Flow, direction: str) -> bool:
    if direction == "ingress":
        rules = policy.for_endpoint(flow.destination.identity.labels).ingress
        return rules.enforced and decide(flow, None, rules).verdict is Verdict.ALLOWED
    rules = policy.for_endpoint(flow.source.identity.labels).egress
    return rules.enforced and decide(flow, rules, None).verdict is Verdict.ALLOWED


def _short(place: Place) -> str:
    return f"{place.file}:{place.line}"

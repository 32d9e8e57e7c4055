"""Kinds that do not exist: an object of a misspelt kind would be passed over, and what it says would not be checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies.examples import api
from drills.check.world import Manifest, World

KIND = Rule(
    name="check/unknown-kind",
    level=Level.ERROR,
    title="A kind that its API group does not have",
    problem="The kind is misspelt, in other letters, or in the plural. A kind is written exactly as it is defined.",
    effect="The API knows no such kind: kubectl ends with `no matches for kind ... in version ...`, and the object is "
    "not made. Nothing that it says was checked.",
    fix="Write the kind that the message names; `kubectl api-resources` lists them all.",
    wrong=api("ingress: [{}]\n").replace("CiliumNetworkPolicy", "CiliumNetworkPolcy"),
    right=api("ingress: [{}]\n"),
    source="Cilium 1.20 pkg/k8s/apis/cilium.io; prometheus-operator 0.93, pkg/apis/monitoring; Kubernetes 1.33 API",
)
RULES = (KIND,)

# The kinds of each group that are looked at here, and those beside them that are spelt alike but others.
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "cilium.io": ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"),
    "monitoring.coreos.com": ("PrometheusRule", "Prometheus", "AlertmanagerConfig", "Alertmanager"),
    "apps": ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"),
    "batch": ("Job", "CronJob"),
    "": ("Pod", "Service", "Namespace", "ConfigMap", "Secret"),
}
_OTHERS: Final = frozenset(
    {"CiliumLocalRedirectPolicy", "CiliumEgressGatewayPolicy", "CiliumEgressNATPolicy", "PrometheusAgent",
     "ServiceAccount", "PodTemplate"}
)  # fmt: skip
_ALIKE: Final = 0.81  # SequenceMatcher's ratio; below, it may be a kind of a release that is not known here


def check(world: World) -> Iterator[Finding]:
    """Objects whose kind is nearly one that would have been checked."""
    for manifest in world.objects:
        kind = manifest.data.get("kind")
        nearest = _nearest(manifest.group, kind) if isinstance(kind, str) else None
        if nearest is not None:
            yield _unknown(manifest, nearest)


def _nearest(group: str, kind: str) -> str | None:
    known = _KINDS.get(group, ())
    bare = kind.removesuffix("List")
    if not kind or bare in known or bare in _OTHERS:
        return None
    alike = {each: SequenceMatcher(None, kind.lower(), each.lower()).ratio() for each in known}
    best = max(known, key=lambda each: alike[each], default=None)
    return best if best is not None and alike[best] >= _ALIKE else None


def _unknown(manifest: Manifest, nearest: str) -> Finding:
    version = manifest.data.get("apiVersion")
    text = f'there is no kind {manifest.kind} in {version}; did you mean "{nearest}"?'
    effect = (
        f'`no matches for kind "{manifest.kind}" in version "{version}"`: the API does not take the object, and '
        "nothing that it says was checked."
    )
    return KIND.at(manifest.place("kind"), text, effect=effect, fix=f"Write kind: {nearest}.", span=len(manifest.kind))

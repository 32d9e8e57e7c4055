"""Is a PrometheusRule loaded at all: the selectors of the Prometheus objects that are given beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drills.check.finding import Finding, Level, Rule
from drills.check.world import Manifest, World

_RULE: Final = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: cilium-security
  namespace: monitoring
  labels: {release: RELEASE}
spec:
  groups:
  - name: cilium
    rules:
    - alert: CiliumRequestsDenied
      expr: sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10
      for: 1m
      labels: {severity: warning}
      annotations: {summary: Requests are denied}
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: k8s, namespace: monitoring}
spec:
  ruleSelector:
    matchLabels: {release: kube-prometheus-stack}
"""
NOT_SELECTED = Rule(
    name="prometheus/rule-not-selected",
    level=Level.ERROR,
    title="No Prometheus selects the PrometheusRule",
    problem="The operator gives a Prometheus the rules whose labels its ruleSelector asks for, in the namespaces that "
    "ruleNamespaceSelector asks for. kube-prometheus-stack asks for the label release. No ruleSelector at all selects "
    "nothing; no ruleNamespaceSelector is the Prometheus's own namespace.",
    effect="The object is stored and nothing else happens: no Prometheus ever evaluates its rules.",
    fix="Give the PrometheusRule the labels and the namespace that the Prometheus selects.",
    wrong=_RULE.replace("RELEASE", "cilium"),
    right=_RULE.replace("RELEASE", "kube-prometheus-stack"),
    source="prometheus-operator 0.93, Documentation/api-reference/api.md: PrometheusSpec",
)
RULES = (NOT_SELECTED,)
_READERS: Final = ("Prometheus", "ThanosRuler")


def check(world: World) -> Iterator[Finding]:
    """PrometheusRules that none of the given Prometheus objects selects; nothing where there are no such objects."""
    readers = [each for each in world.of_kind(*_READERS) if each.group == "monitoring.coreos.com"]
    if not readers:
        return
    namespaces = {each.name: _labels(each) for each in world.of_kind("Namespace")}
    for rule in world.prometheus_rules:
        why = [_why_not(rule, reader, namespaces) for reader in readers]
        if all(why):
            text = f"no given Prometheus selects {rule}: {'; '.join(each for each in why if each)}"
            effect = f"{rule} is stored, and none of its alerts is ever evaluated: no error is shown anywhere."
            labels = rule.metadata.get("labels")
            place = rule.key_place("metadata", "labels") if labels else rule.place("metadata")
            yield NOT_SELECTED.at(place, text, effect=effect, span=len("labels") if labels else 1)


def _why_not(rule: Manifest, reader: Manifest, namespaces: Mapping[str, Mapping[str, str]]) -> str:
    """Why a Prometheus does not select a rule; empty where it does, or may."""
    spec = reader.data.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    selector = spec.get("ruleSelector")
    if selector is None:
        return f"{reader} has no ruleSelector, which selects nothing"
    if _selects(selector, _labels(rule)) is False:
        return f"{reader} asks for {_shown(selector)}"
    where = spec.get("ruleNamespaceSelector")
    if rule.namespace is None or (where is None and reader.namespace is None):
        return ""  # it depends on kubectl's context
    if where is None:
        return "" if rule.namespace == reader.namespace else f"{reader} looks in its own namespace only"
    own = {"kubernetes.io/metadata.name": rule.namespace, **namespaces.get(rule.namespace, {})}
    if _selects(where, own) is False and (rule.namespace in namespaces or _by_name(where)):
        return f"{reader} looks in namespaces with {_shown(where)}"
    return ""


def _labels(manifest: Manifest) -> dict[str, str]:
    found = manifest.metadata.get("labels")
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _by_name(selector: Any) -> bool:
    """Whether a selector asks for nothing but a namespace's name, which is a label of each."""
    wanted = [*_matches(selector), *(each.get("key") for each in _expressions(selector))]
    return all(key == "kubernetes.io/metadata.name" for key in wanted)


def _selects(selector: Any, labels: Mapping[str, str]) -> bool | None:
    """Kubernetes' label selector; None where it is malformed."""
    if not isinstance(selector, dict):
        return None
    if any(labels.get(key) != str(value) for key, value in _matches(selector).items()):
        return False
    return all(_expression(each, labels) for each in _expressions(selector))


def _matches(selector: Any) -> Mapping[str, Any]:
    found = selector.get("matchLabels") if isinstance(selector, dict) else None
    return found if isinstance(found, dict) else {}


def _expressions(selector: Any) -> list[Mapping[str, Any]]:
    found = selector.get("matchExpressions") if isinstance(selector, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _expression(each: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = str(each.get("key")), each.get("operator"), each.get("values")
    wanted = [str(value) for value in values] if isinstance(values, list) else []
    match operator:
        case "In":
            return labels.get(key) in wanted
        case "NotIn":
            return labels.get(key) not in wanted
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return True


def _shown(selector: Any) -> str:
    parts = [f"{key}={value}" for key, value in _matches(selector).items()]
    for each in _expressions(selector):
        values = each.get("values")
        listed = f" ({', '.join(map(str, values))})" if isinstance(values, list) and values else ""
        parts.append(f"{each.get('key')} {each.get('operator')}{listed}")
    return "the labels " + ", ".join(parts) if parts else "any labels"

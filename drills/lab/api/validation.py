"""Rules that schemas cannot say: names, labels, what must match what, what may not change.

The part of pkg/apis/*/validation of Kubernetes that people run into, in its wording; limits and
formats that the lab does not act on are left to the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from drills.lab.api.errors import Cause
from drills.lab.api.pod_validation import invalid, not_supported, pod_change_causes, pod_spec_causes, required
from drills.lab.api.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from drills.lab.api.selectors import selector_of
from drills.lab.api.types import Obj, annotations_of, labels_of

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SERVICE_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_CRONJOB_NAME = 52  # a Job's 63, less what the controller appends
_WORKLOADS = (DEPLOYMENTS, REPLICASETS, STATEFULSETS, DAEMONSETS)
_RBAC = (ROLES, ROLEBINDINGS, CLUSTERROLES, CLUSTERROLEBINDINGS)


def causes_of_new(r: Resource, obj: Obj) -> list[Cause]:
    """Why an object may not be stored; empty if it may. The object fits its schema and has its defaults."""
    found = list(_metadata(r, obj))
    check = _CHECKS.get(r)
    return found + (list(check(obj)) if check else [])


def causes_of_change(r: Resource, old: Obj, new: Obj) -> list[Cause]:
    """Why an object may not be changed like this; empty if it may."""
    return causes_of_new(r, new) + list(_changes(r, old, new))


def _name_rule(r: Resource) -> tuple[re.Pattern[str], int, str]:
    if r is NAMESPACES:
        return _LABEL, 63, _LABEL_RULE
    if r is SERVICES:
        return _SERVICE_LABEL, 63, _SERVICE_RULE
    return _SUBDOMAIN, 253, _SUBDOMAIN_RULE


def _metadata(r: Resource, obj: Obj) -> Iterator[Cause]:
    name = obj["metadata"].get("name") or ""
    pattern, limit, rule = _name_rule(r)
    if r in _RBAC:
        if "/" in name or "%" in name or name in (".", ".."):
            yield invalid("metadata.name", name, "may not contain '/' or '%'")
    elif name and len(name) > limit:
        yield Cause("metadata.name", f"Too long: may not be more than {limit} bytes", "FieldValueTooLong")
    elif name and not pattern.fullmatch(name):
        yield invalid("metadata.name", name, rule)
    yield from _label_causes(labels_of(obj), "metadata.labels")
    for key in annotations_of(obj):
        yield from _key_causes(key, "metadata.annotations")


def _label_causes(labels: Any, path: str) -> Iterator[Cause]:
    for key, value in (labels or {}).items():
        yield from _key_causes(key, path)
        if len(value) > 63:
            yield invalid(path, value, "must be no more than 63 bytes")
        elif not _VALUE.fullmatch(value):
            yield invalid(path, value, _VALUE_RULE)


def _key_causes(key: str, path: str) -> Iterator[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        yield invalid(path, key, f"prefix part {_SUBDOMAIN_RULE}")
    elif len(name) > 63:
        yield invalid(path, key, "name part must be no more than 63 bytes")
    elif not _QUALIFIED.fullmatch(name):
        yield invalid(path, key, _KEY_RULE)


def _pod(obj: Obj) -> Iterator[Cause]:
    return pod_spec_causes(obj.get("spec") or {}, "spec")


def _workload(obj: Obj) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    labels = labels_of(template)
    yield from _label_causes(labels, "spec.template.labels")
    selector = spec.get("selector")
    if selector is not None:
        chosen = selector_of(selector)
        if not chosen:
            yield invalid("spec.selector", "{}", "empty selector is invalid for deployment")
        elif not chosen.matches({"metadata": {"labels": labels}}):
            text = json.dumps(labels, separators=(",", ":"), sort_keys=True)
            why = f"Invalid value: {text}: `selector` does not match template `labels`"
            yield Cause("spec.template.metadata.labels", why)
    if int(spec.get("replicas") or 0) < 0:
        yield invalid("spec.replicas", spec["replicas"], "must be greater than or equal to 0")
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") not in (None, "Always"):
        yield not_supported("spec.template.spec.restartPolicy", pod["restartPolicy"], ("Always",))
    yield from pod_spec_causes(pod, "spec.template.spec")


def _job_template(template: Obj, path: str) -> Iterator[Cause]:
    yield from _label_causes(labels_of(template), f"{path}.labels")
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") not in ("OnFailure", "Never"):
        yield required(f"{path}.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    yield from pod_spec_causes(pod, f"{path}.spec")


def _job(obj: Obj) -> Iterator[Cause]:
    return _job_template((obj.get("spec") or {}).get("template") or {}, "spec.template")


def _cronjob(obj: Obj) -> Iterator[Cause]:
    name = str(obj["metadata"].get("name") or "")
    if len(name) > _CRONJOB_NAME:
        yield invalid("metadata.name", name, f"must be no more than {_CRONJOB_NAME} characters")
    spec = obj.get("spec") or {}
    schedule = str(spec.get("schedule") or "")
    if not schedule.startswith("@") and len(schedule.split()) != 5:
        why = f"expected exactly 5 fields, found {len(schedule.split())}: [{schedule}]"
        yield invalid("spec.schedule", schedule, why)
    template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    yield from _job_template(template, "spec.jobTemplate.spec.template")


def _service(obj: Obj) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    ports = spec.get("ports") or []
    kind = spec.get("type")
    if kind not in ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"):
        yield not_supported("spec.type", kind, ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"))
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    names = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        if not 0 < port.get("port", 0) < 65536:
            yield invalid(f"{path}.port", port.get("port"), "must be between 1 and 65535, inclusive")
        if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
            yield not_supported(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{path}.name")
        elif name in names:
            yield Cause(f"{path}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate")
        names.add(name)


_CHECKS: dict[Resource, Callable[[Obj], Iterator[Cause]]] = {
    PODS: _pod,
    **dict.fromkeys(_WORKLOADS, _workload),
    JOBS: _job,
    CRONJOBS: _cronjob,
    SERVICES: _service,
}


def _changes(r: Resource, old: Obj, new: Obj) -> Iterable[Cause]:
    if r is PODS:
        return pod_change_causes(old, new)
    if r in (CONFIGMAPS, SECRETS) and old.get("immutable"):
        fields = [field for field in ("data", "binaryData", "immutable") if old.get(field) != new.get(field)]
        return [Cause(field, "Forbidden: field is immutable when `immutable` is set") for field in fields]
    return list(_fixed(old, new, _FIXED.get(r, ())))


_FIXED: dict[Resource, tuple[str, ...]] = {
    **dict.fromkeys(_WORKLOADS, ("spec.selector",)),
    JOBS: ("spec.selector", "spec.template", "spec.completionMode"),
    SECRETS: ("type",),
    ROLEBINDINGS: ("roleRef",),
    CLUSTERROLEBINDINGS: ("roleRef",),
}


def _fixed(old: Obj, new: Obj, paths: Iterable[str]) -> Iterator[Cause]:
    for path in paths:
        before, after = _at(old, path), _at(new, path)
        if before is not None and before != after:
            text = json.dumps(after, separators=(",", ":"), sort_keys=True)
            yield Cause(path, f"Invalid value: {text}: field is immutable")
    if (old.get("spec") or {}).get("clusterIP") and old["kind"] == SERVICES.kind:
        before, after = old["spec"]["clusterIP"], (new.get("spec") or {}).get("clusterIP")
        if after and before != after:
            yield Cause("spec.clusterIPs[0]", f'Invalid value: ["{after}"]: may not change once set')


def _at(obj: Obj, path: str) -> Any:
    value: Any = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value

"""What the API server fills in when a user leaves it out (pkg/apis/*/v1/defaults.go of Kubernetes).

Only what the lab, kubectl or a client reads; an object that went through here needs no ``or "Always"``
at the place where it is used.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from drills.lab.api.resources import Resource
from drills.lab.api.types import Obj


def set_defaults(r: Resource, obj: Obj) -> None:
    """Fill in the defaults of the object's kind, in place. Parts of the wrong type are left alone."""
    setter = _SETTERS.get(r.kind)
    if setter is not None and not r.custom:
        setter(obj)


def _part(parent: Any, *path: str) -> Obj:
    """The mapping at a path, made where absent; a throw-away one where something else stands there."""
    for key in path:
        if not isinstance(parent, dict):
            return {}
        if parent.get(key) is None:
            parent[key] = {}
        parent = parent[key]
    return parent if isinstance(parent, dict) else {}


def _items(parent: Any, key: str) -> list[Obj]:
    found = parent.get(key) if isinstance(parent, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _fill(target: Obj, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _probe(probe: Any) -> None:
    if not isinstance(probe, dict):
        return
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if isinstance(probe.get("httpGet"), dict):
        _fill(probe["httpGet"], path="/", scheme="HTTP")


def _container(container: Obj) -> None:
    image = str(container.get("image") or "")
    tagless = ":" not in image.rpartition("/")[2] and "@" not in image
    latest = tagless or image.endswith(":latest")
    _fill(
        container,
        imagePullPolicy="Always" if latest else "IfNotPresent",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    for port in _items(container, "ports"):
        _fill(port, protocol="TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        _probe(container.get(name))
    for entry in _items(container, "env"):
        reference = (entry.get("valueFrom") or {}) if isinstance(entry.get("valueFrom"), dict) else {}
        if isinstance(reference.get("fieldRef"), dict):
            _fill(reference["fieldRef"], apiVersion="v1")


def _pod_spec(spec: Obj) -> None:
    _fill(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
        enableServiceLinks=True,
    )
    if spec.get("serviceAccountName"):
        _fill(spec, serviceAccount=spec["serviceAccountName"])
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in _items(spec, kind):
            _container(container)
    for volume in _items(spec, "volumes"):
        for kind in ("secret", "configMap", "projected", "downwardAPI"):
            if isinstance(volume.get(kind), dict):
                _fill(volume[kind], defaultMode=420)


def _pod(obj: Obj) -> None:
    spec = _part(obj, "spec")
    _fill(spec, serviceAccountName=spec.get("serviceAccount") or "default", preemptionPolicy="PreemptLowerPriority")
    _fill(spec, priority=0)
    _pod_spec(spec)
    _fill(_part(obj, "status"), phase="Pending", qosClass="BestEffort")


def _template(obj: Obj, **spec: Any) -> Obj:
    _fill(_part(obj, "spec"), **spec)
    template = _part(obj, "spec", "template")
    _pod_spec(_part(template, "spec"))
    return template


def _deployment(obj: Obj) -> None:
    _template(obj, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _part(obj, "spec", "strategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(_part(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")


def _replicaset(obj: Obj) -> None:
    _template(obj, replicas=1)
    _fill(_part(obj, "status"), replicas=0)


def _statefulset(obj: Obj) -> None:
    _template(obj, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = _part(obj, "spec", "updateStrategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(_part(strategy, "rollingUpdate"), partition=0)


def _daemonset(obj: Obj) -> None:
    _template(obj, revisionHistoryLimit=10)
    strategy = _part(obj, "spec", "updateStrategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(_part(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)


def _job_spec(owner: Obj, path: tuple[str, ...]) -> Obj:
    spec = _part(owner, *path)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        _fill(spec, completions=1)
    _fill(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _pod_spec(_part(spec, "template", "spec"))
    return spec


def _job(obj: Obj) -> None:
    """Also what the Job strategy does on create: the selector and the labels that tie pods to the Job."""
    spec = _job_spec(obj, ("spec",))
    uid = (obj.get("metadata") or {}).get("uid")
    if uid and spec.get("selector") is None and not spec.get("manualSelector"):
        name = obj["metadata"]["name"]
        marks = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
        labels = _part(spec, "template", "metadata", "labels")
        labels.update({**marks, "controller-uid": uid, "job-name": name})
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def _cronjob(obj: Obj) -> None:
    _fill(
        _part(obj, "spec"),
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    _job_spec(obj, ("spec", "jobTemplate", "spec"))


def _service(obj: Obj) -> None:
    spec = _part(obj, "spec")
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    for port in _items(spec, "ports"):
        _fill(port, protocol="TCP")
        if port.get("port") is not None:
            _fill(port, targetPort=port["port"])
    _fill(_part(obj, "status"), loadBalancer={})


def _secret(obj: Obj) -> None:
    """stringData is write-only: it goes into data, encoded."""
    _fill(obj, type="Opaque")
    clear = obj.pop("stringData", None)
    if isinstance(clear, dict):
        data = _part(obj, "data")
        data.update({key: base64.b64encode(str(value).encode()).decode() for key, value in clear.items()})


def _namespace(obj: Obj) -> None:
    _fill(_part(obj, "spec"), finalizers=["kubernetes"])
    _fill(_part(obj, "status"), phase="Active")
    labels = _part(obj, "metadata", "labels")
    labels["kubernetes.io/metadata.name"] = obj["metadata"].get("name")


def _binding(obj: Obj) -> None:
    if isinstance(obj.get("roleRef"), dict):
        _fill(obj["roleRef"], apiGroup="rbac.authorization.k8s.io")
    for subject in _items(obj, "subjects"):
        if subject.get("kind") != "ServiceAccount":
            _fill(subject, apiGroup="rbac.authorization.k8s.io")


_SETTERS: dict[str, Callable[[Obj], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replicaset,
    "StatefulSet": _statefulset,
    "DaemonSet": _daemonset,
    "Job": _job,
    "CronJob": _cronjob,
    "Service": _service,
    "Secret": _secret,
    "Namespace": _namespace,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
}

"""Rules of pods and pod templates that schemas cannot say (pkg/apis/core/validation/validation.go)."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from drills.lab.api.errors import Cause
from drills.lab.api.types import Obj

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CHANGEABLE = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def required(path: str, detail: str = "") -> Cause:
    """A field that must be there."""
    return Cause(path, f"Required value: {detail}" if detail else "Required value", "FieldValueRequired")


def invalid(path: str, value: Any, why: str) -> Cause:
    """A value that its field does not take."""
    return Cause(path, f"Invalid value: {json.dumps(value)}: {why}")


def not_supported(path: str, value: Any, supported: Sequence[str]) -> Cause:
    """A value outside of the few that its field takes."""
    listed = ", ".join(f'"{entry}"' for entry in supported)
    return Cause(path, f"Unsupported value: {json.dumps(value)}: supported values: {listed}", "FieldValueNotSupported")


def pod_spec_causes(spec: Obj, path: str) -> Iterator[Cause]:
    """What is wrong with a pod's specification."""
    containers = spec.get("containers") or []
    if not containers:
        yield required(f"{path}.containers")
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or []):
            yield from _container(container, f"{path}.{kind}[{index}]", seen, volumes)
    policy = spec.get("restartPolicy")
    if policy not in ("Always", "OnFailure", "Never"):
        yield not_supported(f"{path}.restartPolicy", policy, ("Always", "OnFailure", "Never"))


def _container(container: Obj, path: str, seen: set[str], volumes: set[Any]) -> Iterator[Cause]:
    yield from container_name_causes(container.get("name") or "", f"{path}.name", seen)
    if not container.get("image"):
        yield required(f"{path}.image")
    pull = container.get("imagePullPolicy")
    if pull not in ("Always", "IfNotPresent", "Never"):
        yield not_supported(f"{path}.imagePullPolicy", pull, ("Always", "IfNotPresent", "Never"))
    for index, port in enumerate(container.get("ports") or []):
        yield from _port(port, f"{path}.ports[{index}]")
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            yield Cause(f"{path}.volumeMounts[{index}].name", f'Not found: "{mount.get("name")}"', "FieldValueNotFound")
    for index, entry in enumerate(container.get("env") or []):
        if entry.get("value") and entry.get("valueFrom"):
            where = f"{path}.env[{index}].valueFrom"
            yield Cause(where, 'Invalid value: "": may not be specified when `value` is not empty')


def container_name_causes(name: str, path: str, seen: set[str]) -> Iterator[Cause]:
    """What is wrong with a container's name, which is then among those ``seen``."""
    if not name:
        yield required(path)
    elif not _DNS_LABEL.fullmatch(name):
        yield invalid(path, name, "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
                      "'-', and must start and end with an alphanumeric character")  # fmt: skip
    elif name in seen:
        yield Cause(path, f'Duplicate value: "{name}"', "FieldValueDuplicate")
    seen.add(name)


def _port(port: Obj, path: str) -> Iterator[Cause]:
    number, protocol = port.get("containerPort", 0), port.get("protocol")
    if not 0 < number < 65536:
        yield invalid(f"{path}.containerPort", number, "must be between 1 and 65535, inclusive")
    if protocol not in ("TCP", "UDP", "SCTP"):
        yield not_supported(f"{path}.protocol", protocol, ("SCTP", "TCP", "UDP"))


def pod_change_causes(old: Obj, new: Obj) -> Iterator[Cause]:
    """What of a running pod may not be changed: nearly everything."""
    if _fixed_part(old) != _fixed_part(new):
        yield Cause("spec", _CHANGEABLE, "FieldValueForbidden")


def _fixed_part(pod: Obj) -> Obj:
    spec: Obj = copy.deepcopy(pod.get("spec") or {})
    for field in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"):
        spec.pop(field, None)
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or []:
            container.pop("image", None)
    return spec

"""The subresource ephemeralcontainers of pods: containers are added to one that runs, and never changed or removed.

As pkg/registry/core/pod/strategy.go and pkg/apis/core/validation (ValidatePodEphemeralContainersUpdate) of Kubernetes:
whatever else a document changes is ignored.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from drills.lab.api.errors import Cause
from drills.lab.api.pod_validation import container_name_causes, not_supported, required
from drills.lab.api.types import Obj

FIELD = "ephemeralContainers"
_FORBIDDEN = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy")


def with_ephemeral(old: Obj, new: Obj) -> Obj:
    """The pod as it is, with the ephemeral containers of a document and nothing else of it."""
    wanted = (new.get("spec") or {}).get(FIELD)
    spec = copy.deepcopy(old["spec"])
    spec.pop(FIELD, None)
    if wanted:
        spec[FIELD] = wanted
    version = (new.get("metadata") or {}).get("resourceVersion")
    metadata = {**old["metadata"], **({"resourceVersion": version} if version else {})}
    return {**old, "metadata": metadata, "spec": spec}


def ephemeral_causes(old: Obj, new: Obj) -> Iterator[Cause]:
    """Why a pod may not get these ephemeral containers; nothing if it may."""
    spec = new["spec"]
    others = {each["name"] for kind in ("containers", "initContainers") for each in spec.get(kind) or ()}
    seen = set(others)
    for index, container in enumerate(spec.get(FIELD) or ()):
        path = f"spec.{FIELD}[{index}]"
        yield from container_name_causes(container.get("name") or "", f"{path}.name", seen)
        if not container.get("image"):
            yield required(f"{path}.image")
        target = container.get("targetContainerName")
        if target and target not in others:
            yield not_supported(f"{path}.targetContainerName", target, sorted(others))
        for field in _FORBIDDEN:
            if container.get(field):
                text = "Forbidden: cannot be set for an Ephemeral Container"
                yield Cause(f"{path}.{field}", text, "FieldValueForbidden")
    now = {each.get("name"): each for each in spec.get(FIELD) or ()}
    for before in old["spec"].get(FIELD) or ():
        name = before["name"]
        if name not in now:
            yield _kept(f'existing ephemeral containers "{name}" may not be removed')
        elif now[name] != before:
            yield _kept(f'existing ephemeral containers "{name}" may not be changed')


def _kept(text: str) -> Cause:
    return Cause(f"spec.{FIELD}", f"Forbidden: {text}", "FieldValueForbidden")

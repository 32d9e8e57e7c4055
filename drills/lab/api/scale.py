"""The scale subresource: ``kubectl scale`` reads and writes replicas through an autoscaling/v1 Scale."""

from __future__ import annotations

from typing import Any

from drills.lab.api.errors import bad_request
from drills.lab.api.objects import Objects, Patch
from drills.lab.api.patch import PatchError, json_patch, merge_patch
from drills.lab.api.paths import Options
from drills.lab.api.resources import Resource
from drills.lab.api.selectors import as_text
from drills.lab.api.types import Obj


def scale_of(obj: Obj) -> Obj:
    """The Scale of a Deployment, ReplicaSet or StatefulSet."""
    spec, status, meta = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {"replicas": status.get("replicas", 0), "selector": as_text(spec.get("selector"))},
    }


def put_scale(objects: Objects, r: Resource, obj: Obj, scale: Any, options: Options) -> Obj:
    """Set an object's replicas to what a Scale says; returns the new Scale. Raises ApiError."""
    replicas = (scale.get("spec") or {}).get("replicas", 0) if isinstance(scale, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas must be an integer')
    meta: Obj = {}
    if version := (scale.get("metadata") or {}).get("resourceVersion"):
        meta = {"metadata": {"resourceVersion": version}}
    patch = {**meta, "spec": {"replicas": replicas}}
    name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace")
    return scale_of(objects.patch(r, namespace, name, Patch("merge", patch), options).obj)


def patch_scale(objects: Objects, r: Resource, obj: Obj, patch: Patch, options: Options) -> Obj:
    """Change an object's replicas by a patch of its Scale; returns the new Scale. Raises ApiError."""
    scale = scale_of(obj)
    try:
        patched = json_patch(scale, patch.body) if patch.kind == "json" else merge_patch(scale, patch.body)
    except PatchError as error:
        raise bad_request(str(error)) from error
    return put_scale(objects, r, obj, patched, options)

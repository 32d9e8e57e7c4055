"""Pods and their owners: who controls what, adoption, pods from templates."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable

from drills.lab.api.resources import Resource
from drills.lab.api.selectors import selector_of
from drills.lab.api.store import Store
from drills.lab.api.types import Event, Obj, deleting, name_of, namespace_of, uid_of
from drills.lab.controllers.loop import Key

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes: no vowels, no words


def controller_of(obj: Obj) -> Obj | None:
    """The ownerReference of the object's controller, if it has one."""
    references = (obj.get("metadata") or {}).get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def reference_to(owner: Obj, resource: Resource) -> Obj:
    """The ownerReference that makes ``owner`` an object's controller."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def key_of(obj: Obj) -> Key:
    """Namespace and name."""
    return (namespace_of(obj) or "", name_of(obj))


def owner_keys(event: Event, kind: str) -> list[Key]:
    """Objects of a kind that control the object of an event, before or after it."""
    found = []
    for obj in (event.obj, event.previous):
        reference = controller_of(obj) if obj else None
        if reference is not None and reference.get("kind") == kind:
            found.append((namespace_of(event.obj) or "", reference["name"]))
    return found


def owned(store: Store, resource: Resource, owner: Obj) -> list[Obj]:
    """Objects of a kind in the owner's namespace that it controls."""
    uid = uid_of(owner)
    return [obj for obj in store.list(resource, namespace_of(owner)) if (controller_of(obj) or {}).get("uid") == uid]


def claim(store: Store, resource: Resource, owner: Obj, owner_resource: Resource) -> list[Obj]:
    """Objects that the owner controls, after it has adopted the orphans that its selector matches and let go of those
    that it no longer matches. What another controller controls is left alone, whatever its labels
    (pkg/controller/controller_ref_manager.go)."""
    selector, mine = selector_of((owner.get("spec") or {}).get("selector")), []
    for obj in store.list(resource, namespace_of(owner)):
        controller = controller_of(obj)
        fits = bool(selector) and selector.matches(obj)
        if controller is not None and controller.get("uid") == uid_of(owner):
            if fits or deleting(obj):
                mine.append(obj)
            else:
                references = [ref for ref in obj["metadata"]["ownerReferences"] if ref is not controller]
                store.update(resource, _with_owners(obj, references))
        elif controller is None and fits and not deleting(obj) and not deleting(owner) and not finished(obj):
            references = [*(obj["metadata"].get("ownerReferences") or []), reference_to(owner, owner_resource)]
            mine.append(store.update(resource, _with_owners(obj, references)))
    return mine


def new_pod(owner: Obj, resource: Resource, *, name: str | None = None, labels: dict[str, str] | None = None) -> Obj:
    """A pod from the owner's template, not yet in the Store; without a name it gets one made from the owner's."""
    template = copy.deepcopy(owner["spec"]["template"])
    meta = template.get("metadata") or {}
    meta = {key: meta[key] for key in ("labels", "annotations") if meta.get(key)}
    meta["labels"] = {**meta.get("labels", {}), **(labels or {})}
    meta["namespace"] = namespace_of(owner)
    meta["ownerReferences"] = [reference_to(owner, resource)]
    meta |= {"name": name} if name else {"generateName": f"{name_of(owner)}-"}
    return {"metadata": meta, "spec": template.get("spec") or {}}


def template_hash(template: Obj) -> str:
    """A short name for a pod template: the same for the same content."""
    digest = hashlib.blake2b(json.dumps(template, sort_keys=True).encode(), digest_size=16).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def finished(pod: Obj) -> bool:
    """Whether a pod has run to its end."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def active(pods: Iterable[Obj]) -> list[Obj]:
    """Pods that run or will run."""
    return [pod for pod in pods if not deleting(pod) and not finished(pod)]


def is_ready(pod: Obj) -> bool:
    """Whether the pod's Ready condition is true."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def delete_order(pod: Obj) -> tuple[bool, bool, str]:
    """Sort key: the pods that are missed least come first (not scheduled, not ready, youngest)."""
    scheduled = bool(pod["spec"].get("nodeName"))
    return (scheduled, is_ready(pod), _descending(str(pod["metadata"].get("creationTimestamp"))))


def percentage(value: int | str | None, total: int, *, up: bool) -> int:
    """An IntOrString such as ``25%`` of ``total``, rounded up or down."""
    text = str(value or 0)
    if not text.endswith("%"):
        return int(text)
    share = int(text[:-1]) * total
    return -(-share // 100) if up else share // 100


def set_status(store: Store, resource: Resource, obj: Obj, status: Obj) -> None:
    """Write a status if it differs."""
    if obj.get("status") != status:
        store.set_status(resource, namespace_of(obj), name_of(obj), status)


def condition(old: Iterable[Obj], kind: str, *, true: bool, reason: str, message: str, now: str) -> Obj:
    """A condition that keeps its transition time while its status does not change."""
    status = "True" if true else "False"
    same = (entry["lastTransitionTime"] for entry in old if (entry["type"], entry["status"]) == (kind, status))
    since = next(same, now)
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
        "lastUpdateTime": since,
    }


def _with_owners(obj: Obj, references: list[Obj]) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": references}}


def _descending(text: str) -> str:
    return "".join(chr(0x10FFFF - ord(char)) for char in text)

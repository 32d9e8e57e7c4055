"""How objects go: DeleteOptions, and what becomes of the objects that they own."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

from drills.lab.api.errors import bad_request, conflict
from drills.lab.api.resources import ALL, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Obj, deleting, name_of, namespace_of, uid_of

FOREGROUND = "foregroundDeletion"
Propagation = Literal["Background", "Foreground", "Orphan"]


class DeleteOptions(NamedTuple):
    """A metav1.DeleteOptions, from the body or the query."""

    grace: int | None = None
    propagation: Propagation = "Background"
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


def parse_delete_options(body: Any, query: dict[str, str], *, dry_run: bool) -> DeleteOptions:
    """The options of a DELETE request; the query wins. Raises ApiError 400."""
    document = body if isinstance(body, dict) else {}
    grace = query.get("gracePeriodSeconds", document.get("gracePeriodSeconds"))
    orphan = query.get("orphanDependents", document.get("orphanDependents"))
    policy = query.get("propagationPolicy") or document.get("propagationPolicy")
    policy = policy or ("Orphan" if orphan in (True, "true") else "Background")
    if policy not in ("Background", "Foreground", "Orphan"):
        raise bad_request(f'invalid propagationPolicy: Unsupported value: "{policy}"')
    if grace is not None and not str(grace).lstrip("-").isdecimal():
        raise bad_request(f'invalid gracePeriodSeconds: "{grace}" is no number')
    conditions = document.get("preconditions") or {}
    return DeleteOptions(
        grace=None if grace is None else max(0, int(grace)),
        propagation=cast("Propagation", policy),
        uid=conditions.get("uid"),
        resource_version=conditions.get("resourceVersion"),
        dry_run=dry_run,
    )


def delete(store: Store, r: Resource, obj: Obj, options: DeleteOptions) -> Obj:
    """Delete a stored object. Returns it as it stood last. Raises ApiError 409 where a precondition does not hold."""
    meta = obj["metadata"]
    for what, wanted, actual in (
        ("UID", options.uid, meta["uid"]),
        ("ResourceVersion", options.resource_version, meta["resourceVersion"]),
    ):
        if wanted and wanted != actual:
            text = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}"
            raise conflict(r, name_of(obj), text)
    if not options.dry_run and options.propagation == "Orphan":
        for kind, dependant in dependants(store, uid_of(obj)):
            disown(store, kind, dependant, {uid_of(obj)})
    if not options.dry_run and options.propagation == "Foreground" and not deleting(obj):
        finalizers = [*(meta.get("finalizers") or []), FOREGROUND]
        store.update(r, {**obj, "metadata": {**meta, "finalizers": finalizers}})
    return store.delete(r, namespace_of(obj), name_of(obj), grace=options.grace, dry_run=options.dry_run)


def owners_of(obj: Obj) -> set[str]:
    """UIDs that an object's ownerReferences name."""
    return {reference.get("uid", "") for reference in obj["metadata"].get("ownerReferences") or ()}


def dependants(store: Store, uid: str) -> list[tuple[Resource, Obj]]:
    """Objects that an object owns."""
    return [(r, obj) for r in ALL for obj in store.list(r) if uid in owners_of(obj)]


def disown(store: Store, r: Resource, obj: Obj, owners: set[str]) -> None:
    """Take ownerReferences away from an object."""
    references = obj["metadata"].get("ownerReferences") or []
    kept = [reference for reference in references if reference.get("uid") not in owners]
    store.update(r, {**obj, "metadata": {**obj["metadata"], "ownerReferences": kept}})

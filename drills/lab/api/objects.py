"""Changes that clients ask for: create, replace, patch, apply, status, scale, delete.

No HTTP here: documents in, stored objects and warnings out, ApiError for what is refused. The API's
handlers and ``--manifests`` go through the same code.
"""

from __future__ import annotations

import copy
import functools
import json
from typing import Any, Literal, NamedTuple

from drills.lab.api.ephemeral import ephemeral_causes, with_ephemeral
from drills.lab.api.errors import ApiError, bad_request, conflict, forbidden, invalid, unsupported_media
from drills.lab.api.intake import FieldValidation, check_change, check_new, decode, decode_patched
from drills.lab.api.patch import PatchError, json_patch, merge_patch
from drills.lab.api.paths import Options
from drills.lab.api.pod_validation import required
from drills.lab.api.resources import NAMESPACES, PODS, SERVICEACCOUNTS, Resource
from drills.lab.api.schema import builtin
from drills.lab.api.store import Store
from drills.lab.api.strategic import Strategic
from drills.lab.api.types import Obj, name_of

PatchKind = Literal["json", "merge", "strategic", "apply"]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LAST_WRITER = "server-side apply of the drills lab: the last writer wins, field ownership is not tracked"


class Patch(NamedTuple):
    """A patch as it was sent."""

    kind: PatchKind
    body: Any


class Outcome(NamedTuple):
    """What a change led to. ``warnings`` are for the user: unknown fields that were dropped, and the like."""

    obj: Obj
    warnings: list[str]
    created: bool = False


class Applied(NamedTuple):
    """What applying a manifest led to."""

    obj: Obj
    warnings: list[str]
    created: bool


@functools.cache
def _strategic(r: Resource) -> Strategic:
    return Strategic(builtin(), f"v1.{r.kind}")


class Objects:
    """The Store as clients may change it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, r: Resource, namespace: str | None, document: Any, options: Options) -> Outcome:
        """Store a new object. Raises ApiError."""
        obj, warnings = decode(r, document, options.validation)
        self._place(r, obj, namespace)
        meta = obj["metadata"]
        if meta.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not meta.get("name") and not meta.get("generateName"):
            raise invalid(r, "", [required("metadata.name", "name or generateName is required")])
        if r.has_status:
            obj.pop("status", None)
        check_new(r, obj)
        if r is PODS and self._store.find(NAMESPACES, None, obj["metadata"]["namespace"]) is not None:
            self._admit_pod(obj)
        return Outcome(self._store.create(r, obj, dry_run=options.dry_run), warnings, created=True)

    def replace(self, r: Resource, namespace: str | None, name: str, document: Any, options: Options) -> Outcome:
        """Put a document in an object's place. Raises ApiError."""
        obj, warnings = decode(r, document, options.validation)
        self._place(r, obj, namespace, name)
        return Outcome(self._change(r, namespace, name, obj, options), warnings)

    def replace_status(self, r: Resource, namespace: str | None, name: str, document: Any, options: Options) -> Outcome:
        """Put the status of a document in the place of an object's. Raises ApiError."""
        obj, warnings = decode(r, document, options.validation)
        self._place(r, obj, namespace, name)
        return Outcome(self._change_status(r, namespace, name, obj, options), warnings)

    def patch(self, r: Resource, namespace: str | None, name: str, patch: Patch, options: Options) -> Outcome:
        """Change an object by a patch; ``apply`` makes it if it is not there. Raises ApiError."""
        if patch.kind == "apply" and self._store.find(r, namespace, name) is None:
            made = self.create(r, namespace, _named(patch.body, name), options)
            return made._replace(warnings=[*made.warnings, _LAST_WRITER])
        patched = self._patched(r, namespace, name, patch)
        obj, warnings = decode_patched(r, patched, options.validation)
        self._place(r, obj, namespace, name)
        if patch.kind == "apply":
            warnings = [*warnings, _LAST_WRITER]
        return Outcome(self._change(r, namespace, name, obj, options), warnings)

    def patch_status(self, r: Resource, namespace: str | None, name: str, patch: Patch, options: Options) -> Outcome:
        """Change an object's status by a patch. Raises ApiError."""
        patched = self._patched(r, namespace, name, patch)
        obj, warnings = decode_patched(r, patched, options.validation)
        return Outcome(self._change_status(r, namespace, name, obj, options), warnings)

    def ephemeral(self, namespace: str | None, name: str, change: Patch | Any, options: Options) -> Outcome:
        """Add ephemeral containers to a pod by a patch, or by a document of the whole pod. Raises ApiError."""
        if isinstance(change, Patch):
            obj, warnings = decode_patched(PODS, self._patched(PODS, namespace, name, change), options.validation)
        else:
            obj, warnings = decode(PODS, change, options.validation)
        self._place(PODS, obj, namespace, name)
        old = self._store.get(PODS, namespace, name)
        new = with_ephemeral(old, obj)
        if causes := list(ephemeral_causes(old, new)):
            raise invalid(PODS, name, causes)
        return Outcome(self._store.update(PODS, new, dry_run=options.dry_run), warnings)

    def apply(self, r: Resource, namespace: str | None, document: Obj, validation: FieldValidation) -> Applied:
        """Make or change an object as ``kubectl apply`` does: what was applied before and is gone is removed."""
        options = Options(validation=validation)
        name = name_of(document)
        wanted = _with_last_applied(document)
        live = self._store.find(r, namespace, name)
        if live is None:
            made = self.create(r, namespace, wanted, options)
            return Applied(made.obj, made.warnings, created=True)
        last = json.loads((live["metadata"].get("annotations") or {}).get(LAST_APPLIED) or "{}")
        if r.custom:
            patch = Patch("merge", merge_difference(last, wanted))
        else:
            patch = Patch("strategic", _strategic(r).three_way(last, wanted))
        done = self.patch(r, namespace, name, patch, options)
        return Applied(done.obj, done.warnings, created=False)

    # inside

    def _place(self, r: Resource, obj: Obj, namespace: str | None, name: str | None = None) -> None:
        """The object's name and namespace are those of the URL. Raises ApiError 400 where they differ."""
        meta = obj["metadata"]
        if not r.namespaced:
            meta.pop("namespace", None)
        elif meta.setdefault("namespace", namespace) != namespace:
            raise bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request "
                f"({meta['namespace']} != {namespace})"
            )
        if name is not None and meta.setdefault("name", name) != name:
            raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")

    def _change(self, r: Resource, namespace: str | None, name: str, obj: Obj, options: Options) -> Obj:
        old = self._store.get(r, namespace, name)
        check_change(r, old, obj)
        return self._store.update(r, obj, dry_run=options.dry_run)

    def _change_status(self, r: Resource, namespace: str | None, name: str, obj: Obj, options: Options) -> Obj:
        old = self._store.get(r, namespace, name)
        expected = obj["metadata"].get("resourceVersion")
        if expected and expected != old["metadata"]["resourceVersion"]:
            raise conflict(r, name)
        return self._store.set_status(r, namespace, name, obj.get("status") or {}, dry_run=options.dry_run)

    def _patched(self, r: Resource, namespace: str | None, name: str, patch: Patch) -> Obj:
        old = self._store.get(r, namespace, name)
        if patch.kind == "strategic" and r.custom:
            raise unsupported_media(
                "the body of the request was in an unknown format - accepted media types include: "
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            )
        try:
            return _patch_document(r, old, patch.kind, patch.body)
        except PatchError as error:
            raise ApiError(
                422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
            ) from error

    def _admit_pod(self, pod: Obj) -> None:
        meta, account = pod["metadata"], pod["spec"].get("serviceAccountName") or "default"
        if self._store.find(SERVICEACCOUNTS, meta["namespace"], account) is None:
            name = meta.get("name") or meta.get("generateName") or ""
            why = (
                f'error looking up service account {meta["namespace"]}/{account}: serviceaccount "{account}" not found'
            )
            raise forbidden(PODS, name, why)


def _patch_document(r: Resource, old: Obj, kind: PatchKind, patch: Any) -> Obj:
    if kind == "json":
        return json_patch(old, patch)
    if not isinstance(patch, dict):
        raise PatchError("the patch is no object")
    if kind == "strategic" or (kind == "apply" and not r.custom):
        return _strategic(r).apply(old, patch)
    merged: Obj = merge_patch(old, patch)
    return merged


def _named(patch: Any, name: str) -> Any:
    if not isinstance(patch, dict) or not isinstance(patch.get("metadata", {}), dict):
        return patch
    return {**patch, "metadata": {"name": name, **patch.get("metadata", {})}}


def _with_last_applied(document: Obj) -> Obj:
    """The document with the annotation in which ``kubectl apply`` remembers it."""
    wanted = copy.deepcopy(document)
    annotations = wanted.setdefault("metadata", {}).get("annotations") or {}
    annotations.pop(LAST_APPLIED, None)
    wanted["metadata"]["annotations"] = annotations
    text = json.dumps(wanted, separators=(",", ":"), sort_keys=True) + "\n"
    wanted["metadata"]["annotations"] = {**annotations, LAST_APPLIED: text}
    return wanted


def merge_difference(last: Obj, wanted: Obj) -> Obj:
    """The JSON merge patch to ``wanted`` that also removes what ``last`` had and ``wanted`` lacks."""
    patch: Obj = {key: None for key in last if key not in wanted}
    for key, value in wanted.items():
        before = last.get(key)
        nested = isinstance(value, dict) and isinstance(before, dict)
        patch[key] = merge_difference(before, value) if nested and isinstance(before, dict) else value
    return patch

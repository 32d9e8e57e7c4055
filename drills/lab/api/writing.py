"""POST, PUT, PATCH and DELETE on objects and collections, and on status, scale and ephemeralcontainers."""

from __future__ import annotations

from aiohttp import web

from drills.lab.api.deletion import delete, parse_delete_options
from drills.lab.api.errors import ApiError, method_not_allowed
from drills.lab.api.http import answer, read_document, read_patch, success
from drills.lab.api.objects import Objects, Outcome
from drills.lab.api.paths import Options, Target, parse_options
from drills.lab.api.resources import NAMESPACES, PODS, SERVICEACCOUNTS, SERVICES
from drills.lab.api.scale import patch_scale, put_scale, scale_of
from drills.lab.api.selectors import parse
from drills.lab.api.store import Store
from drills.lab.api.types import deleting, uid_of

_RETURNED = (PODS, SERVICES, SERVICEACCOUNTS)  # the answer to their deletion is the object (ReturnDeletedObject)


def _answer(outcome: Outcome) -> web.Response:
    return answer(outcome.obj, 201 if outcome.created else 200, outcome.warnings)


def _named(target: Target) -> str:
    if target.name is None:
        raise method_not_allowed("the server does not allow this method on the requested resource")
    return target.name


class Writer:
    """Answers requests that change objects."""

    def __init__(self, store: Store, objects: Objects) -> None:
        self._store = store
        self._objects = objects

    async def change(self, request: web.Request, target: Target) -> web.StreamResponse:
        """POST, PUT, PATCH or DELETE of an object or a collection. Raises ApiError."""
        if request.method == "DELETE":
            return await self._delete(request, target)
        options = parse_options(request.query)
        r, namespace = target.resource, target.namespace
        if request.method == "POST":
            if target.name is not None or (r.namespaced and namespace is None):
                raise method_not_allowed("the server does not allow this method on the requested resource")
            return _answer(self._objects.create(r, namespace, await read_document(request), options))
        name = _named(target)
        if request.method == "PUT":
            return _answer(self._objects.replace(r, namespace, name, await read_document(request), options))
        return _answer(self._objects.patch(r, namespace, name, await read_patch(request), options))

    async def status(self, request: web.Request, target: Target) -> web.StreamResponse:
        """GET, PUT or PATCH of a status. Raises ApiError."""
        options = parse_options(request.query)
        r, namespace, name = target.resource, target.namespace, _named(target)
        if request.method == "GET":
            return answer(self._store.get(r, namespace, name))
        if request.method == "PUT":
            return _answer(self._objects.replace_status(r, namespace, name, await read_document(request), options))
        return _answer(self._objects.patch_status(r, namespace, name, await read_patch(request), options))

    async def scale(self, request: web.Request, target: Target) -> web.StreamResponse:
        """GET, PUT or PATCH of a Scale. Raises ApiError."""
        options = parse_options(request.query)
        r = target.resource
        obj = self._store.get(r, target.namespace, _named(target))
        if request.method == "GET":
            return answer(scale_of(obj))
        if request.method == "PUT":
            return answer(put_scale(self._objects, r, obj, await read_document(request), options))
        return answer(patch_scale(self._objects, r, obj, await read_patch(request), options))

    async def ephemeral(self, request: web.Request, target: Target) -> web.StreamResponse:
        """GET, PUT or PATCH of a pod's ephemeral containers. Raises ApiError."""
        name = _named(target)
        if request.method == "GET":
            return answer(self._store.get(PODS, target.namespace, name))
        change = await (read_document(request) if request.method == "PUT" else read_patch(request))
        return _answer(self._objects.ephemeral(target.namespace, name, change, parse_options(request.query)))

    async def _delete(self, request: web.Request, target: Target) -> web.StreamResponse:
        body = await read_document(request)
        options: Options = parse_options(request.query, body.get("dryRun") if isinstance(body, dict) else None)
        wanted = parse_delete_options(body, dict(request.query), dry_run=options.dry_run)
        r = target.resource
        if target.name is None:
            return self._delete_collection(request, target)
        obj = self._store.get(r, target.namespace, target.name)
        if r is NAMESPACES and target.name in ("default", "kube-system"):
            text = f'namespaces "{target.name}" is forbidden: this namespace may not be deleted'
            raise ApiError(403, "Forbidden", text)
        last = delete(self._store, r, obj, wanted)
        if r in _RETURNED or (deleting(last) and self._store.find(r, target.namespace, target.name) is not None):
            return answer(last)
        return answer(success(r.plural, r.group, target.name, uid_of(obj)))

    def _delete_collection(self, request: web.Request, target: Target) -> web.StreamResponse:
        r = target.resource
        selector = parse(r, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
        wanted = parse_delete_options(None, dict(request.query), dry_run=parse_options(request.query).dry_run)
        found = [obj for obj in self._store.list(r, target.namespace) if selector.matches(obj)]
        gone = [delete(self._store, r, obj, wanted) for obj in found]
        meta = {"resourceVersion": str(self._store.revision)}
        return answer({"kind": f"{r.kind}List", "apiVersion": r.api_version, "metadata": meta, "items": gone})

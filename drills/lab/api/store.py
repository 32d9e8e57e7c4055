"""The lab's objects, with the rules that every Kubernetes client relies on.

Optimistic concurrency by resourceVersion, generations, finalizers, graceful deletion of pods, watches
that miss nothing. Everything is in memory and synchronous (one event loop, no locks), and the lab's
own parts use it directly; clients come through ``drills.lab.api.server``.
"""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from drills.lab.api.defaults import set_defaults
from drills.lab.api.errors import ApiError, already_exists, bad_request, conflict, expired, forbidden, not_found
from drills.lab.api.history import DEFAULT_HISTORY, History, Watch
from drills.lab.api.resources import NAMESPACES, PODS, SERVICEACCOUNTS, Resource
from drills.lab.api.types import Event, EventType, Obj, deleting, labels_of, name_of, namespace_of

__all__ = ["ApiError", "Store", "timestamp", "utc_now"]

Key = tuple[str, str]  # namespace (empty for the cluster's scope), name
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # k8s.io/apimachinery/pkg/util/rand: no vowels, no words


def utc_now() -> datetime:
    """The wall clock in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """A metav1.Time: RFC 3339 in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All objects of the lab. What it hands out is shared: read it, do not change it.

    Namespaced objects need their namespace to exist: create the Namespace first.
    """

    def __init__(self, *, history: int = DEFAULT_HISTORY, clock: Callable[[], datetime] = utc_now) -> None:
        self.revision = 1
        self._clock = clock
        self._objects: dict[Resource, dict[Key, Obj]] = {}
        self._history = History(history)

    # reading

    def find(self, r: Resource, namespace: str | None, name: str) -> Obj | None:
        """The object, or None."""
        return self._objects.get(r, {}).get(_key(r, namespace, name))

    def get(self, r: Resource, namespace: str | None, name: str) -> Obj:
        """The object. Raises ApiError 404."""
        found = self.find(r, namespace, name)
        if found is None:
            raise not_found(r, name)
        return found

    def list(self, r: Resource, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Obj]:
        """Objects of a kind by namespace and name; those of one namespace, those that carry all ``labels``."""
        found = self._objects.get(r, {})
        wanted = (labels or {}).items()
        return [
            found[key]
            for key in sorted(found)
            if (namespace is None or key[0] == namespace) and wanted <= labels_of(found[key]).items()
        ]

    def watch(self, r: Resource, *, since: int | None = None) -> Watch:
        """Changes of a kind after revision ``since``; without it, everything there is as ADDED and then what happens.

        Raises ApiError 410 when ``since`` is older than the history that is kept, or from another life of the lab.
        """
        if since is None:
            initial = [Event(_revision_of(obj), "ADDED", obj, None) for obj in self.list(r)]
        elif since > self.revision:
            raise expired(f"too large resource version: {since}, current: {self.revision}")
        else:
            initial = self._history.since(r, since)
        return self._history.follow(r, initial)

    def listen(self, listener: Callable[[Resource, Event], None]) -> None:
        """Call ``listener`` at once for every change of any kind; it must be quick and must not change the Store."""
        self._history.listen(listener)

    # writing

    def create(self, r: Resource, obj: Obj, *, dry_run: bool = False) -> Obj:
        """Store a new object and return it with uid, resourceVersion, creationTimestamp, generation and defaults.

        Raises ApiError 409 if the name is taken, 404 or 403 if its namespace is missing or on its way out.
        """
        new = copy.deepcopy(obj)
        new["apiVersion"], new["kind"] = r.api_version, r.kind
        meta = new.setdefault("metadata", {})
        if not r.namespaced:
            meta.pop("namespace", None)
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise bad_request("name or generateName is required")
            meta["name"] = meta["generateName"] + "".join(random.choices(_SUFFIX, k=5))  # noqa: S311 - a name, no secret
        self._admit(r, new)
        if self.find(r, namespace_of(new), meta["name"]) is not None:
            raise already_exists(r, meta["name"])
        meta["uid"] = str(uuid.uuid4())
        set_defaults(r, new)
        meta["creationTimestamp"] = timestamp(self._clock())
        meta["generation"] = 1
        for server_side in ("deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "selfLink"):
            meta.pop(server_side, None)
        if dry_run:
            return new
        self._commit(r, "ADDED", new, None)
        if r is NAMESPACES:
            self.create(SERVICEACCOUNTS, {"metadata": {"name": "default", "namespace": meta["name"]}})
        return new

    def update(self, r: Resource, obj: Obj, *, dry_run: bool = False) -> Obj:
        """Replace an object, keeping its status where the kind has one (see ``set_status``).

        Raises ApiError 404, or 409 if metadata.resourceVersion is given and stale. generation rises when
        anything but metadata changed; nothing happens when nothing changed. An object that is being
        deleted goes when its last finalizer does.
        """
        old = self._for_change(r, obj)
        new = copy.deepcopy(obj)
        new["apiVersion"], new["kind"] = r.api_version, r.kind
        _keep_system_fields(new["metadata"], old["metadata"])
        set_defaults(r, new)
        if r.has_status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        if _content(new) != _content(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        return self._replace(r, old, new, dry_run=dry_run)

    def set_status(self, r: Resource, namespace: str | None, name: str, status: Obj, *, dry_run: bool = False) -> Obj:
        """Replace an object's status and nothing else. Raises ApiError 404."""
        old = self.get(r, namespace, name)
        new = {**old, "metadata": dict(old["metadata"]), "status": copy.deepcopy(status)}
        return self._replace(r, old, new, dry_run=dry_run)

    def delete(
        self, r: Resource, namespace: str | None, name: str, *, grace: int | None = None, dry_run: bool = False
    ) -> Obj:
        """Ask for an object's end, as a client does. Raises ApiError 404.

        Pods on a node get a deletionTimestamp and ``grace`` seconds (their own terminationGracePeriodSeconds by
        default) until the kubelet calls ``remove``; so do objects with finalizers and namespaces. Everything
        else, and any pod with ``grace=0``, is gone at once. Returns the object as it stood last.
        """
        old = self.get(r, namespace, name)
        seconds = _pod_grace(old, grace) if r is PODS else 0
        meta = dict(old["metadata"])
        waits = bool(seconds) or bool(meta.get("finalizers")) or r is NAMESPACES
        if dry_run:
            return old
        if not waits:
            return self._drop(r, old)
        if deleting(old) and seconds >= meta.get("deletionGracePeriodSeconds", 0):
            return old
        meta["deletionTimestamp"] = timestamp(self._clock() + timedelta(seconds=seconds))
        meta["deletionGracePeriodSeconds"] = seconds
        new = {**old, "metadata": meta}
        if r is NAMESPACES:
            new["status"] = {**old.get("status", {}), "phase": "Terminating"}
        return self._replace(r, old, new)

    def remove(self, r: Resource, namespace: str | None, name: str) -> None:
        """Take an object away for good: what ran is stopped (kubelet), what it held is swept (namespaces).

        Waits for finalizers, if there are any. Removing what is gone is no error.
        """
        old = self.find(r, namespace, name)
        if old is None:
            return
        if not old["metadata"].get("finalizers"):
            self._drop(r, old)
            return
        meta = {**old["metadata"], "deletionGracePeriodSeconds": 0}
        meta.setdefault("deletionTimestamp", timestamp(self._clock()))
        self._replace(r, old, {**old, "metadata": meta})

    # inside

    def _admit(self, r: Resource, obj: Obj) -> None:
        if not r.namespaced:
            return
        name = namespace_of(obj)
        if not name:
            raise bad_request("an empty namespace may not be set during creation")
        namespace = self.find(NAMESPACES, None, name)
        if namespace is None:
            raise not_found(NAMESPACES, name)
        if deleting(namespace):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise forbidden(r, name_of(obj), why)

    def _for_change(self, r: Resource, obj: Obj) -> Obj:
        meta = obj["metadata"]
        old = self.get(r, meta.get("namespace"), meta["name"])
        if meta.get("uid") and meta["uid"] != old["metadata"]["uid"]:
            given, stored = meta["uid"], old["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {given}, UID in object meta: {stored}"
            raise conflict(r, meta["name"], why)
        if meta.get("resourceVersion") and meta["resourceVersion"] != old["metadata"]["resourceVersion"]:
            raise conflict(r, meta["name"])
        return old

    def _replace(self, r: Resource, old: Obj, new: Obj, *, dry_run: bool = False) -> Obj:
        meta = new["metadata"]
        if new == old:
            return old
        if dry_run:
            return new
        held = bool(meta.get("finalizers")) or r is NAMESPACES or bool(meta.get("deletionGracePeriodSeconds"))
        if deleting(new) and not held:
            return self._drop(r, new)
        self._commit(r, "MODIFIED", new, old)
        return new

    def _drop(self, r: Resource, old: Obj) -> Obj:
        last = {**old, "metadata": dict(old["metadata"])}
        del self._objects[r][_key(r, namespace_of(old), name_of(old))]
        self._stamp(last)
        self._history.record(r, Event(self.revision, "DELETED", last, old))
        return last

    def _commit(self, r: Resource, kind: EventType, new: Obj, old: Obj | None) -> None:
        self._stamp(new)
        self._objects.setdefault(r, {})[_key(r, namespace_of(new), name_of(new))] = new
        self._history.record(r, Event(self.revision, kind, new, old))

    def _stamp(self, obj: Obj) -> None:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)


def _key(r: Resource, namespace: str | None, name: str) -> Key:
    return (namespace or "" if r.namespaced else "", name)


def _revision_of(obj: Obj) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _content(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _keep_system_fields(meta: Obj, old: Obj) -> None:
    """What a client cannot change by an update: it comes from the stored object, whatever was sent."""
    fixed = ("uid", "creationTimestamp", "generation", "resourceVersion")
    for field in (*fixed, "deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(field, None)
        if field in old:
            meta[field] = old[field]


def _pod_grace(pod: Obj, asked: int | None) -> int:
    """Seconds that a pod gets to end (pkg/registry/core/pod/strategy.go, CheckGracefulDelete)."""
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    seconds = asked if asked is not None else spec.get("terminationGracePeriodSeconds")
    return max(0, int(30 if seconds is None else seconds))

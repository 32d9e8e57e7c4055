"""What Kubernetes' garbage collector and namespace controller do: what belongs to something that is gone, goes.

One sweep over everything, a few milliseconds for a lab's few hundred objects, whenever something was
deleted, is being deleted, or names an owner.
"""

from __future__ import annotations

import asyncio

from drills.lab.api.deletion import FOREGROUND, dependants, disown, owners_of
from drills.lab.api.resources import ALL, NAMESPACES, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Event, Obj, deleting, name_of, namespace_of, uid_of

# Seconds; 5 in pkg/controller/namespace. `kubectl delete -f` still finds what else is in its file.
NAMESPACE_GRACE = 1.0


class GarbageCollector:
    """Sweeps the Store after changes that may leave something behind."""

    def __init__(self, store: Store, *, namespace_grace: float = NAMESPACE_GRACE) -> None:
        self._store = store
        self._grace = namespace_grace
        self._dirty = asyncio.Event()
        self._due: dict[str, float] = {}  # UIDs of namespaces on their way out, and when they are emptied
        store.listen(self._on_change)

    async def run(self) -> None:
        """Sweep for ever; cancel to end."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            pause = self.sweep(clock())
            if pause is not None:
                asyncio.get_running_loop().call_later(pause, self._dirty.set)

    def sweep(self, now: float = 0.0) -> float | None:
        """Delete what has lost its owners, empty the namespaces whose time has come.

        Returns the seconds after which another sweep is due, None if only a change can bring work.
        """
        ending = {uid_of(obj): obj for obj in self._store.list(NAMESPACES) if deleting(obj)}
        self._due = {uid: self._due.get(uid, now + self._grace) for uid in ending}
        for uid, namespace in ending.items():
            if self._due[uid] <= now:
                self._empty(namespace)
        live = {uid_of(obj) for r in ALL for obj in self._store.list(r)}
        for r in ALL:
            for obj in self._store.list(r):
                self._judge(r, obj, live)
        return min((due - now for due in self._due.values() if due > now), default=None)

    def _on_change(self, _: Resource, event: Event) -> None:
        if event.type == "DELETED" or deleting(event.obj) or (event.type == "ADDED" and owners_of(event.obj)):
            self._dirty.set()

    def _empty(self, namespace: Obj) -> None:
        name = name_of(namespace)
        left = [(r, obj) for r in ALL if r.namespaced for obj in self._store.list(r, name)]
        for r, obj in left:
            if not deleting(obj):
                self._store.delete(r, name, name_of(obj))
        if not any(self._store.list(r, name) for r in ALL if r.namespaced):
            self._store.remove(NAMESPACES, None, name)

    def _judge(self, r: Resource, obj: Obj, live: set[str]) -> None:
        if self._store.find(r, namespace_of(obj), name_of(obj)) is not obj:
            return  # changed by this very sweep; that change brings the next one
        if deleting(obj):
            if FOREGROUND in (obj["metadata"].get("finalizers") or ()):
                self._foreground(r, obj)
            return
        owners = owners_of(obj)
        gone = owners - live
        if owners and gone == owners:
            self._store.delete(r, namespace_of(obj), name_of(obj))
        elif gone:
            disown(self._store, r, obj, gone)

    def _foreground(self, r: Resource, owner: Obj) -> None:
        """Dependants first, the owner when they are gone."""
        left = dependants(self._store, uid_of(owner))
        for kind, obj in left:
            if not deleting(obj):
                self._store.delete(kind, namespace_of(obj), name_of(obj))
        if not dependants(self._store, uid_of(owner)):
            finalizers = [entry for entry in owner["metadata"]["finalizers"] if entry != FOREGROUND]
            self._store.update(r, {**owner, "metadata": {**owner["metadata"], "finalizers": finalizers}})

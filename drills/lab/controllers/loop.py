"""The one way a controller works: what has changed is put on a list, and each thing on it is put right."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from drills.lab.api.resources import Resource
from drills.lab.api.store import ApiError, Store
from drills.lab.api.types import Event

Key = tuple[str, str]  # namespace, name

log = logging.getLogger("drills.lab.controllers")

RETRY = 0.2  # seconds until a failed attempt is repeated


class Controller(Protocol):
    """Brings one kind of object into the state that its spec asks for."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Kinds whose changes matter."""
        ...

    def affected(self, resource: Resource, event: Event) -> Iterable[Key]:
        """What may have to be put right after a change."""
        ...

    def reconcile(self, key: Key) -> float | None:
        """Put one object right; seconds until it should be looked at again, None if only changes matter.

        Called again and again: does nothing where nothing is to be done. ApiError means: try again.
        """
        ...


class Loop:
    """Runs one controller on the event loop."""

    def __init__(self, store: Store, controller: Controller) -> None:
        self._store = store
        self._controller = controller
        self._dirty: dict[Key, None] = {}  # in order, each once
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Follow the Store for ever; cancel to end."""
        followers = [asyncio.create_task(self._follow(resource)) for resource in self._controller.resources]
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._work()
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)

    async def _follow(self, resource: Resource) -> None:
        watch = self._store.watch(resource)
        try:
            while (event := await watch.next_event()) is not None:
                self._add(self._controller.affected(resource, event))
        finally:
            watch.close()

    async def _work(self) -> None:
        while self._dirty:
            key = next(iter(self._dirty))
            del self._dirty[key]
            again = self._attempt(key)
            if again is not None:
                asyncio.get_running_loop().call_later(again, self._add, (key,))
            await asyncio.sleep(0)  # let the others in: a change of mine may concern them

    def _attempt(self, key: Key) -> float | None:
        try:
            return self._controller.reconcile(key)
        except ApiError as error:
            log.debug("%s %s: %s", type(self._controller).__name__, key, error)
            return RETRY
        except Exception:
            log.exception("%s failed on %s/%s", type(self._controller).__name__, *key)
            return None

    def _add(self, keys: Iterable[Key]) -> None:
        self._dirty.update(dict.fromkeys(keys))
        if self._dirty:
            self._wake.set()

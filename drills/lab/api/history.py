"""What happened to the Store's objects lately, and who wants to hear of it.

A watch gets every change once and in order, or is told that it missed some (410): that contract is
what controllers and ``kubectl get -w`` stand on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from drills.lab.api.errors import expired
from drills.lab.api.resources import Resource
from drills.lab.api.types import Event, EventType, Obj

DEFAULT_HISTORY = 8192  # changes of all kinds; some minutes of a busy lab
MAX_BACKLOG = 16384  # a reader this far behind is cut off rather than fed for ever


class Watch:
    """Changes of one kind of object as an async iterator of ``(type, object)``; one reader only."""

    def __init__(self, initial: Iterable[Event], on_close: Callable[[Watch], None]) -> None:
        self._events: deque[Event] = deque(initial)
        self.initial = len(self._events)  # events that were there when the watch began
        self._wake = asyncio.Event()
        self._on_close = on_close
        self._closed = False
        self._overrun = False

    def push(self, event: Event) -> None:
        """Called by the Store: one more change for the reader."""
        if len(self._events) >= MAX_BACKLOG:
            self._overrun = True
            self.close()
            return
        self._events.append(event)
        self._wake.set()

    def close(self) -> None:
        """Stop listening; the reader gets what is queued and then the end."""
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._wake.set()

    async def next_event(self) -> Event | None:
        """The next change with its revision and the object before it; None at the end. Raises ApiError 410."""
        while not self._events:
            if self._overrun:
                raise expired("the watch fell too far behind")
            if self._closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> tuple[EventType, Obj]:
        event = await self.next_event()
        if event is None:
            raise StopAsyncIteration
        return event.type, event.obj


class History:
    """The last changes of all objects, and the watches that follow them."""

    def __init__(self, size: int) -> None:
        self._events: deque[tuple[Resource, Event]] = deque(maxlen=size)
        self._forgotten = 0  # revision of the newest change that fell out
        self._watches: dict[Resource, set[Watch]] = {}
        self._listeners: list[Callable[[Resource, Event], None]] = []

    def listen(self, listener: Callable[[Resource, Event], None]) -> None:
        """Call ``listener`` at once for every change of any kind; it must be quick and must not change the Store."""
        self._listeners.append(listener)

    def record(self, resource: Resource, event: Event) -> None:
        """Remember a change and hand it to every watch of its kind."""
        if len(self._events) == self._events.maxlen:
            self._forgotten = self._events[0][1].revision
        self._events.append((resource, event))
        for watch in tuple(self._watches.get(resource, ())):
            watch.push(event)
        for listener in self._listeners:
            listener(resource, event)

    def since(self, resource: Resource, revision: int) -> list[Event]:
        """Changes of a kind after ``revision``. Raises ApiError 410 when some of them are forgotten."""
        if revision < self._forgotten:
            raise expired(f"too old resource version: {revision} ({self._forgotten})")
        return [event for kind, event in self._events if kind == resource and event.revision > revision]

    def follow(self, resource: Resource, initial: Iterable[Event]) -> Watch:
        """A watch that starts with ``initial`` and goes on with what happens from now on."""
        watches = self._watches.setdefault(resource, set())
        watch = Watch(initial, watches.discard)
        watches.add(watch)
        return watch

"""GET: one object, a list, a watch; as plain objects, as tables, as metadata only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from drills.lab.api.conversations import Conversations, client_left
from drills.lab.api.errors import ApiError, bad_request
from drills.lab.api.history import Watch
from drills.lab.api.http import accepts, answer, encode
from drills.lab.api.paths import Target, flag, number
from drills.lab.api.resources import Resource
from drills.lab.api.selectors import Selector, parse
from drills.lab.api.store import Store
from drills.lab.api.tables import META_VERSION, metadata_only, table
from drills.lab.api.types import Event, Obj, namespace_of

_LOOK_SECONDS = 5.0  # how often an idle watch looks whether its client is still there
_BOOKMARK_SECONDS = 60.0


class View:
    """The shape in which a client wants objects: as they are, rows of a table, or metadata only."""

    def __init__(self, request: web.Request, r: Resource) -> None:
        self._r = r
        self._table = accepts(request, "Table")
        self._metadata = accepts(request, "PartialObjectMetadata") or accepts(request, "PartialObjectMetadataList")
        self._include = request.query.get("includeObject", "Metadata")
        self._heading = True

    def one(self, obj: Obj) -> Obj:
        """One object; in a watch only the first table carries the headings."""
        if self._table:
            revision = obj["metadata"]["resourceVersion"]
            made = table(self._r, [obj], revision=revision, include=self._include, heading=self._heading)
            self._heading = False
            return made
        return metadata_only(obj) if self._metadata else obj

    def bookmark(self, meta: Obj) -> Obj:
        """An empty object of the view's kind that carries a resourceVersion."""
        if self._table:
            made = table(self._r, [], revision=meta["resourceVersion"], heading=self._heading)
            made["rows"] = [{"cells": [], "object": metadata_only({"metadata": meta})}]
            self._heading = False
            return made
        empty = {"metadata": meta}
        named = {"kind": self._r.kind, "apiVersion": self._r.api_version, **empty}
        return metadata_only(empty) if self._metadata else named

    def many(self, objs: list[Obj], revision: int) -> Obj:
        """A list."""
        if self._table:
            return table(self._r, objs, revision=str(revision), include=self._include)
        kind, version, items = f"{self._r.kind}List", self._r.api_version, objs
        if self._metadata:
            kind, version, items = "PartialObjectMetadataList", META_VERSION, [metadata_only(obj) for obj in objs]
        return {"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": str(revision)}, "items": items}


class Reader:
    """Answers GET requests from the Store."""

    def __init__(self, store: Store, conversations: Conversations) -> None:
        self._store = store
        self._conversations = conversations

    async def get(self, request: web.Request, target: Target) -> web.StreamResponse:
        """One object, or a collection's list or watch. Raises ApiError."""
        r = target.resource
        if target.name is not None:
            return answer(View(request, r).one(self._store.get(r, target.namespace, target.name)))
        selector = parse(r, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
        if flag(request.query, "watch"):
            with self._conversations.one():
                return await self._watch(request, target, selector)
        found = [obj for obj in self._store.list(r, target.namespace) if selector.matches(obj)]
        return answer(View(request, r).many(found, self._store.revision))

    async def _watch(self, request: web.Request, target: Target, selector: Selector) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        stream = _Stream(response, View(request, target.resource), target.namespace, selector)
        seconds = number(request.query, "timeoutSeconds")
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        since = _since(request.query)
        await response.prepare(request)
        try:
            watch = self._store.watch(target.resource, since=since)
        except ApiError as error:
            await stream.send("ERROR", error.as_status())
            return response
        try:
            await self._follow(request, stream, watch, deadline)
        except ApiError as error:
            await stream.send("ERROR", error.as_status())
        except ConnectionError:
            pass  # the client has left, which is how most watches end
        finally:
            watch.close()
        return response

    async def _follow(self, request: web.Request, stream: _Stream, watch: Watch, deadline: float | None) -> None:
        clock = asyncio.get_running_loop().time
        bookmarks = flag(request.query, "allowWatchBookmarks")
        for _ in range(watch.initial):
            if (event := await watch.next_event()) is not None:
                await stream.forward(event)
        if flag(request.query, "sendInitialEvents"):
            await stream.bookmark(self._store.revision, initial=True)
        bookmark_due = clock() + _BOOKMARK_SECONDS
        while deadline is None or clock() < deadline:
            pause = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, max(0.0, deadline - clock()))
            try:
                event = await asyncio.wait_for(watch.next_event(), pause)
            except TimeoutError:
                if client_left(request):
                    return
                if bookmarks and clock() >= bookmark_due:
                    await stream.bookmark(self._store.revision, initial=False)
                    bookmark_due = clock() + _BOOKMARK_SECONDS
                continue
            if event is None:
                return
            await stream.forward(event)


def _since(query: Mapping[str, str]) -> int | None:
    """The revision that a watch starts after; None for a watch that begins with what is there."""
    version = query.get("resourceVersion", "")
    if version in ("", "0") or flag(query, "sendInitialEvents"):
        return None
    if not version.isdecimal():
        raise bad_request(f'Invalid value: "{version}": the resource version must be a number')
    return int(version)


class _Stream:
    """A watch's answer: one JSON document a line."""

    def __init__(self, response: web.StreamResponse, view: View, namespace: str | None, selector: Selector) -> None:
        self._response = response
        self._view = view
        self._namespace = namespace
        self._selector = selector

    async def forward(self, event: Event) -> None:
        """Send a change as the selector sees it: what begins to match is ADDED, what ceases to is DELETED."""
        if self._namespace is not None and namespace_of(event.obj) != self._namespace:
            return
        before = event.previous is not None and self._selector.matches(event.previous)
        after = event.type != "DELETED" and self._selector.matches(event.obj)
        if after:
            await self.send("MODIFIED" if before else "ADDED", self._view.one(event.obj))
        elif before:
            await self.send("DELETED", self._view.one(event.obj))

    async def bookmark(self, revision: int, *, initial: bool) -> None:
        """Tell the client how far it is; ``initial``: that it has heard of all that was there."""
        meta: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        await self.send("BOOKMARK", self._view.bookmark(meta))

    async def send(self, kind: str, obj: Obj) -> None:
        """Send one document."""
        await self._response.write(encode({"type": kind, "object": obj}) + b"\n")

"""Requests that stay open (watches, logs, exec), so that a server that stops can end them at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web


class Conversations:
    """The open ones. Without them a stop would wait a minute for any ``kubectl get -w`` that was left running."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Wrap the answer to a request that may take long."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a conversation needs a task")
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def close(self) -> None:
        """End all of them."""
        for task in tuple(self._tasks):
            task.cancel()


def client_left(request: web.Request) -> bool:
    """Whether nobody listens to the answer any more."""
    return request.transport is None or request.transport.is_closing()

"""The lab's receiver: keeps every notification with the time at which it came, so that *notified* is seen.

``POST /webhook/NAME`` takes Alertmanager's webhook body; ``?status=500`` makes it answer that status and forget the
body, as a failing receiver would. ``GET /notifications`` answers the bodies as a JSON list, oldest first, each with
``receivedAt`` (seconds since the epoch).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

_KEPT = 10_000  # notifications; a runaway rule must not eat the lab's memory


class Receiver:
    """What has been received; `app` serves it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._notifications: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def app(self) -> web.Application:
        """The HTTP application."""
        app = web.Application()
        app.router.add_post("/webhook/{receiver}", self._take)
        app.router.add_get("/notifications", self._list)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        status = request.query.get("status", "200")
        if not status.isdecimal() or not 200 <= int(status) < 600:
            return web.Response(status=400, text="status must be an HTTP status\n")
        if int(status) >= 300:
            return web.Response(status=int(status), text="as asked for\n")
        try:
            body = await request.json()
        except ValueError:
            return web.Response(status=400, text="not JSON\n")
        if not isinstance(body, dict) or not isinstance(body.get("alerts"), list):
            return web.Response(status=400, text="not a notification of Alertmanager's\n")
        body.setdefault("receiver", request.match_info["receiver"])
        self._notifications.append({"receivedAt": self._clock(), **body})
        return web.Response(status=int(status))

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self._notifications))

"""Small HTTP calls to the lab's own Prometheus and Alertmanager, from the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from drills.errors import WorldError

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_TRY_AGAIN = 0.05  # seconds


async def reload(url: str) -> str:
    """Have the server at ``url`` read its configuration again; what it says against it, or the empty text."""
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.post(f"{url}/-/reload") as response:
            return "" if response.status == 200 else (await response.text()).strip()
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"no answer: {error or type(error).__name__}"


async def get_json(url: str) -> Any:
    """The JSON at an address, or None while there is no good answer."""
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url) as response:
            return await response.json(content_type=None) if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


async def wait_ready(name: str, url: str, seconds: float = 10.0) -> None:
    """Wait until ``url/-/ready`` answers 200. WorldError after ``seconds``."""
    try:
        async with asyncio.timeout(seconds), aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while not await _is_ready(session, f"{url}/-/ready"):
                await asyncio.sleep(_TRY_AGAIN)
    except TimeoutError:
        raise WorldError(f"The lab's {name} was not ready after {seconds:g} s: see its log.") from None


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False

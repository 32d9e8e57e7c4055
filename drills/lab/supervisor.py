"""The lab's one Python process: starts every part in the order that makes it ready soonest, and reports to the starter.

Prometheus comes first, since its first scrape is 5 s away whatever else happens (LAB.md). An error while starting ends
the lab and travels to the starter as a sentence; later errors of a part are logged and the lab goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import traceback
from collections.abc import Awaitable
from typing import Any

from drills.errors import DrillsError, InputError
from drills.lab import topology
from drills.lab.daemons import Daemons
from drills.lab.init import Handover
from drills.lab.monitoring import prometheus
from drills.lab.monitoring.settings import of_lab
from drills.lab.settings import LabSettings

log = logging.getLogger("drills.lab")


def main(channel: socket.socket, handover: Handover) -> int:
    """Run the lab until it is killed; the exit status is for PID 1. Called in PID 1's child, in its main thread."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = LabSettings.from_json(handover.settings)
    listeners = {name: socket.socket(fileno=descriptor) for name, descriptor in handover.listeners.items()}
    _use_pidfds()
    asyncio.run(_report(_live(settings, listeners, channel), channel))
    return 1


async def _report(living: Awaitable[None], channel: socket.socket) -> None:
    """Tell the starter why the lab cannot live, and end it there and then: what is under way dies with PID 1."""
    try:
        await living
    except DrillsError as error:
        kind = "input" if isinstance(error, InputError) else "world"
        log.error("%s", error)  # noqa: TRY400  its sentence is all there is to say
        _tell(channel, {"failed": {"kind": kind, "message": str(error)}})
    except Exception as error:
        log.exception("the lab failed")
        _tell(channel, {"failed": {"kind": "world", "message": f"The lab failed: {type(error).__name__}: {error}"}})
    os._exit(1)


async def _live(settings: LabSettings, listeners: dict[str, socket.socket], channel: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(_unexpected)
    topology.build()
    daemons = Daemons()
    _tell(channel, {"progress": "Starting Prometheus"})
    await prometheus.start(of_lab(settings.time_lapse), daemons)
    from drills.lab.lab import Lab  # noqa: PLC0415  half a second of imports, while Prometheus starts

    _unify_logs()
    lab = Lab(settings, listeners, daemons)
    ready = await lab.start(lambda text: _tell(channel, {"progress": text}))
    _tell(channel, {"ready": ready})
    log.info("ready")
    await lab.ended()


def _tell(channel: socket.socket, message: dict[str, Any]) -> None:
    try:
        channel.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        log.warning("the starter is gone, it will not hear: %s", message)


def _unexpected(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    text = "".join(traceback.format_exception(error)) if error else ""
    log.error("%s %s", context.get("message"), text)


def _unify_logs() -> None:
    """What parts say by structlog goes where the rest goes."""
    import structlog  # noqa: PLC0415  with the heavy ones

    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer(key_order=["event"])],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _use_pidfds() -> None:
    """Before Python 3.12 asyncio spends a thread on every child process."""
    if sys.version_info < (3, 12):
        os.close(os.pidfd_open(os.getpid()))  # OSError where the kernel has none
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())

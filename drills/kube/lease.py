"""The Lease that keeps two runs apart: one writer to a cluster at a time, whoever and wherever they are.

Renewed while its holder lives, deleted when it ends. One that was left behind is taken over when it has expired, or at
once where its process can be seen to have ended.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Literal, Self

from drills.errors import WorldError
from drills.kube import references
from drills.kube.api import Api, KubeError, Obj
from drills.kube.holder import Holder, has_ended
from drills.kube.references import CONFLICT, NOT_FOUND, Reference

NAMESPACE = "drills"
LEASE = Reference("coordination.k8s.io/v1", "leases", "drills-run", NAMESPACE)
DURATION_SECONDS = 30
RENEW_SECONDS = 5.0
PROCESS = "drills/process"  # annotation
_TRIES = 3

State = Literal["free", "held", "ended", "expired"]


class LeaseHeld(WorldError):
    """Another run is at work."""


class LeaseLost(WorldError):
    """What we held is somebody else's now, or could not be renewed in time."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a Lease says."""

    holder: str
    process: str
    renewed: datetime
    seconds: int

    @classmethod
    def of(cls, lease: Obj) -> Holding:
        """Of an object of the API; times that nobody wrote are the beginning of time."""
        spec = lease.get("spec") or {}
        annotations = lease["metadata"].get("annotations") or {}
        return cls(
            holder=str(spec.get("holderIdentity") or ""),
            process=str(annotations.get(PROCESS, "")),
            renewed=_parsed(str(spec.get("renewTime") or "")),
            seconds=int(spec.get("leaseDurationSeconds") or 0),
        )

    @property
    def until(self) -> datetime:
        """When it expires, unless it is renewed."""
        return self.renewed + timedelta(seconds=self.seconds)

    def state(self, now: datetime, ended: Callable[[str], bool]) -> State:
        """``ended`` says of a process whether it is certainly no more."""
        if not self.holder:
            return "free"
        if ended(self.process):
            return "ended"
        return "held" if now < self.until else "expired"


class Lease:
    """Our hold of it. A context manager: entered, it is ours and renewed by a thread; left, it is gone.

    ``lost`` is told, in one sentence and from that thread, when it is ours no longer; ``wait`` sleeps on the wall.
    """

    def __init__(
        self,
        api: Api,
        lost: Callable[[str], None],
        *,
        holder: Holder | None = None,
        ended: Callable[[str], bool] = has_ended,
        wait: Callable[[float], object] = time.sleep,
        renew_seconds: float = RENEW_SECONDS,
        duration_seconds: int = DURATION_SECONDS,
    ) -> None:
        self.before: Holding | None = None  # whose it was, if it was left behind
        self._api = api
        self._lost = lost
        self._holder = holder or Holder.here()
        self._ended = ended
        self._wait = wait
        self._every = renew_seconds
        self._seconds = duration_seconds
        self._mine: Obj = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._release()

    def _acquire(self) -> None:
        """LeaseHeld if somebody else is at work; WorldError if the API does not do it."""
        for _ in range(_TRIES):
            try:
                self._mine = references.create(self._api, LEASE, self._written(None))
            except KubeError as error:
                if error.status == NOT_FOUND:
                    raise WorldError(_no_namespace(self._api)) from None
                if error.status != CONFLICT:
                    raise
            else:
                return
            current = references.read(self._api, LEASE)
            if current is not None and self._take_over(current):
                return
        raise LeaseHeld(f"Other runs on {self._api.name} were quicker to take the Lease {_TITLE}: try again.")

    def _take_over(self, current: Obj) -> bool:
        """False if it changed hands meanwhile."""
        left = Holding.of(current)
        match left.state(datetime.now(UTC), self._ended):
            case "held":
                raise LeaseHeld(_held(left, self._api))
            case "expired":
                current = self._still(left, current)
            case "free" | "ended":
                pass
        try:
            self._mine = references.replace(self._api, LEASE, self._written(current))
        except KubeError as error:
            if error.status in (CONFLICT, NOT_FOUND):
                return False
            raise
        self.before = left if left.holder else None
        return True

    def _still(self, left: Holding, current: Obj) -> Obj:
        """The Lease after a wait in which a living holder would have renewed it: its clock may differ from ours."""
        self._wait(self._every + 1)
        now = references.read(self._api, LEASE)
        if now is not None and (found := Holding.of(now)).renewed != left.renewed:
            raise LeaseHeld(f"{_held(found, self._api)} Its clock and this one differ.")
        return now or current

    def _written(self, current: Obj | None) -> Obj:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {} if current is None else current.get("spec") or {}
        ours = current is not None and current is self._mine
        metadata: Obj = {
            "name": LEASE.name,
            "namespace": LEASE.namespace,
            "annotations": {PROCESS: self._holder.process},
        }
        if current is not None:
            metadata |= {key: current["metadata"][key] for key in ("uid", "resourceVersion")}
        return {
            "apiVersion": LEASE.api_version,
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self._holder.name,
                "leaseDurationSeconds": self._seconds,
                "acquireTime": spec.get("acquireTime", now) if ours else now,
                "renewTime": now,
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (0 if ours or current is None else 1),
            },
        }

    def _keep(self) -> None:
        renewed = time.monotonic()
        while not self._stop.wait(self._every):
            try:
                self._renew()
            except LeaseLost as error:
                self._lost(str(error))
                return
            except WorldError as error:
                if time.monotonic() - renewed > self._seconds - self._every:
                    self._lost(f"the Lease {_TITLE} could not be renewed: {error}")
                    return
            else:
                renewed = time.monotonic()

    def _renew(self) -> None:
        try:
            self._mine = references.replace(self._api, LEASE, self._written(self._mine))
        except KubeError as error:
            if error.status not in (CONFLICT, NOT_FOUND):
                raise
            current = references.read(self._api, LEASE)
            if current is None:
                raise LeaseLost(f"somebody deleted the Lease {_TITLE}") from None
            if (found := Holding.of(current)).process != self._holder.process or found.holder != self._holder.name:
                raise LeaseLost(f"the Lease {_TITLE} was taken over by {found.holder or 'nobody'}") from None
            self._mine = current  # somebody touched it, or the answer to our last renewal was lost

    def _release(self) -> None:
        with contextlib.suppress(WorldError):  # it is not ours any more, or it expires by itself
            try:
                self._delete(self._mine)
            except KubeError as error:
                if error.status != CONFLICT:
                    raise
                self._renew()  # the answer to our last renewal was lost, or it is not ours
                self._delete(self._mine)

    def _delete(self, lease: Obj) -> None:
        mine = lease["metadata"]
        references.delete(self._api, LEASE, uid=mine["uid"], resource_version=mine["resourceVersion"])


_TITLE = f"{LEASE.namespace}/{LEASE.name}"


def _held(found: Holding, api: Api) -> str:
    return (
        f"Another run is at work on {api.name}: {found.holder} holds the Lease {_TITLE} until "
        f"{found.until:%H:%M:%S} UTC, and longer if it is alive. Wait for it to end."
    )


def _no_namespace(api: Api) -> str:
    return (
        f"There is no namespace {NAMESPACE} on {api.name}, where a run writes down how to undo what it does: "
        f"`kubectl create namespace {NAMESPACE}`."
    )


def _parsed(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)

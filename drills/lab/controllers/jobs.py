"""Jobs: pods that run to their end, so many times, with so many failures allowed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from drills.lab.api.resources import JOBS, PODS, Resource
from drills.lab.api.store import Store, timestamp, utc_now
from drills.lab.api.types import Event, Obj, deleting, name_of, namespace_of
from drills.lab.controllers.loop import Key
from drills.lab.controllers.owned import active, claim, condition, is_ready, key_of, new_pod, owner_keys, set_status


class Jobs:
    """The Job controller."""

    resources: tuple[Resource, ...] = (JOBS, PODS)

    def __init__(self, store: Store) -> None:
        self._store = store

    def affected(self, resource: Resource, event: Event) -> Iterable[Key]:
        """The Job, or the pod's."""
        return [key_of(event.obj)] if resource == JOBS else owner_keys(event, "Job")

    def reconcile(self, key: Key) -> float | None:
        """Start what is missing, judge the end; seconds until a deadline, if there is one."""
        job = self._store.find(JOBS, *key)
        if job is None or deleting(job):
            return None
        if _done(job):
            return self._expire(job)
        pods = claim(self._store, PODS, job, JOBS)
        running = active(pods)
        phases = [(pod.get("status") or {}).get("phase") for pod in pods]
        succeeded, failed = phases.count("Succeeded"), phases.count("Failed")
        outcome = verdict(job, succeeded, failed, len(running), utc_now())
        if outcome is not None or job["spec"].get("suspend"):
            for pod in running:
                self._store.delete(PODS, namespace_of(pod), name_of(pod))
            running = []
        else:
            for _ in range(missing(job, succeeded, len(running))):
                running.append(self._store.create(PODS, new_pod(job, JOBS)))
        self._report(job, running, succeeded, failed, outcome)
        return _until_deadline(job)

    def _report(self, job: Obj, running: list[Obj], succeeded: int, failed: int, outcome: Obj | None) -> None:
        old = job.get("status") or {}
        now = timestamp(utc_now())
        counts = {
            "active": len(running),
            "ready": sum(map(is_ready, running)),
            "succeeded": succeeded,
            "failed": failed,
        }
        status: Obj = {"startTime": old.get("startTime") or now}
        status |= {key: value for key, value in counts.items() if value or key == "ready"}
        if outcome is not None:
            status["conditions"] = [condition((), true=True, now=now, **outcome)]
            if outcome["kind"] == "Complete":
                status["completionTime"] = now
        set_status(self._store, JOBS, job, status)

    def _expire(self, job: Obj) -> float | None:
        lifetime = job["spec"].get("ttlSecondsAfterFinished")
        if lifetime is None:
            return None
        ended = next(entry["lastTransitionTime"] for entry in job["status"]["conditions"])
        left = float(lifetime) - (utc_now() - _moment(ended)).total_seconds()
        if left > 0:
            return left
        self._store.delete(JOBS, namespace_of(job), name_of(job))
        return None


def verdict(job: Obj, succeeded: int, failed: int, running: int, now: datetime) -> Obj | None:
    """Kind, reason and message of the condition that ends the Job; None while it goes on."""
    spec = job["spec"]
    completions = spec.get("completions")
    if succeeded >= (1 if completions is None else int(completions)) and (completions is not None or not running):
        message = "Reached expected number of succeeded pods"
        return {"kind": "Complete", "reason": "CompletionsReached", "message": message}
    if failed > int(spec.get("backoffLimit", 6)):
        message = "Job has reached the specified backoff limit"
        return {"kind": "Failed", "reason": "BackoffLimitExceeded", "message": message}
    started, limit = (job.get("status") or {}).get("startTime"), spec.get("activeDeadlineSeconds")
    if started and limit and (now - _moment(started)).total_seconds() >= float(limit):
        message = "Job was active longer than specified deadline"
        return {"kind": "Failed", "reason": "DeadlineExceeded", "message": message}
    return None


def missing(job: Obj, succeeded: int, running: int) -> int:
    """How many pods to start now."""
    spec = job["spec"]
    parallel, completions = int(spec.get("parallelism", 1)), spec.get("completions")
    if completions is None:  # a work queue: no new pods once one has succeeded
        return 0 if succeeded else max(0, parallel - running)
    return max(0, min(parallel, int(completions) - succeeded) - running)


def _done(job: Obj) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)


def _until_deadline(job: Obj) -> float | None:
    limit, started = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
    if not limit or not started:
        return float(limit) if limit else None
    return max(0.1, float(limit) - (utc_now() - _moment(started)).total_seconds())


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

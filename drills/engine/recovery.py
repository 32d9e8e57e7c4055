"""Putting back what a change altered, and finishing what an interrupted run left.

Every step can be repeated: it looks at what is there, and does only what is still to be done. What somebody else
changed meanwhile is kept, and said. A run undoes its own changes by the same code.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from typing import TypeVar

from drills.engine.lifting import lift
from drills.engine.reconnected import Reconnected, node_of
from drills.engine.records import Outstanding, Records
from drills.engine.undo import (
    Delete,
    EndContainer,
    ExpireSilence,
    Record,
    RepairAgent,
    Restore,
    differences,
    fresh,
    revert,
)
from drills.engine.undone import Undone, of_error
from drills.errors import WorldError
from drills.kube import Cluster, KubeError
from drills.kube.ephemeral import end_ephemeral
from drills.kube.pods import RUN
from drills.kube.references import Reference, create, delete, read, replace, wait_gone
from drills.kube.wireguard import WireGuard
from drills.reach import Reach

GONE_SECONDS = 30.0
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)  # wall seconds between tries of an undo that the API refuses

_HOPELESS = (401, 403, 422)  # statuses that another try does not change

Wait = Callable[[float], object]
Result = TypeVar("Result")


def recover(
    cluster: Cluster,
    say: Callable[[str], None],
    *,
    accept: bool = False,
    stop: threading.Event | None = None,
    alertmanager: Reach | None = None,
    wait: Wait = time.sleep,
) -> list[Undone]:
    """Undo all that runs left on a cluster, the last change first; whoever calls holds the Lease.

    ``accept``: what somebody else changed meanwhile is to stay as it is, and is not asked about again. ``stop`` ends it
    before the next change, where all is still recorded. ``alertmanager``: see `put_back`.
    WorldError if the records themselves cannot be read.
    """
    records = Records(cluster)
    found = []
    for one in records.outstanding():
        if stop is not None and stop.is_set():
            break
        undone = _recover_one(cluster, records, one, accept, alertmanager, wait, stop)
        say(str(undone))
        found.append(undone)
    return found


def exit_status(undone: Sequence[Undone]) -> int:
    """Of a recovery: 0 restored, 1 something was not, 3 that could not be found out, or its record is still there."""
    if any(one.verdict == "not-restored" and not one.accepted for one in undone):
        return 1
    open_ = any(not one.finished or (one.verdict == "not-verified" and not one.accepted) for one in undone)
    return WorldError.exit_status if open_ else 0


def _recover_one(
    cluster: Cluster,
    records: Records,
    one: Outstanding,
    accept: bool,
    alertmanager: Reach | None,
    wait: Wait,
    stop: threading.Event | None,
) -> Undone:
    record = one.record
    if record is None:
        text = f"its record cannot be read by this version ({one.problem}); undo it with the version that wrote it"
        return Undone(one.what, "not-verified", text, finished=False)
    undone = _verified(cluster, record, alertmanager, wait, stop)
    if accept and undone.theirs:
        undone = changed(undone, text=f"{undone.text}; accepted as it is", finished=True, accepted=True)
    if not undone.finished:
        return undone
    try:
        patiently(lambda: records.drop(record), wait)
    except WorldError as error:
        return changed(undone, text=f"{undone.text}; its record is still there: {error}", finished=False)
    return undone


def _verified(
    cluster: Cluster, record: Record, alertmanager: Reach | None, wait: Wait, stop: threading.Event | None
) -> Undone:
    """Undone in the API is not yet undone: where a node's keys were changed, the agents are asked."""
    node = node_of(record)
    nodes = None if node is None else Reconnected(cluster, node, wait, stop)
    undone = put_back(cluster, record, alertmanager=alertmanager, wait=wait)
    return nodes.judge(undone) if nodes is not None and undone.finished else undone


def put_back(cluster: Cluster, record: Record, *, alertmanager: Reach | None = None, wait: Wait = time.sleep) -> Undone:
    """Undo one change, trying again where the API refuses; never raises for what the world lacks.

    ``alertmanager``: where silences are ended, if not at the address that is recorded.
    """

    def attempt() -> Undone:
        match record.undo:
            case Delete():
                return _delete(cluster, record, record.undo, wait)
            case Restore():
                return _restore(cluster, record, record.undo)
            case RepairAgent():
                return _repair(cluster, record, record.undo, wait)
            case EndContainer():
                return _end(cluster, record, record.undo, wait)
            case ExpireSilence():
                return lift(cluster, record, record.undo, alertmanager, wait)

    try:
        return patiently(attempt, wait)
    except WorldError as error:
        return Undone(record.what, of_error(error), str(error), finished=False)


def patiently(step: Callable[[], Result], wait: Wait = time.sleep) -> Result:
    """The step's answer, trying again with growing pauses while the API refuses; the last KubeError if it goes on."""
    for pause in PAUSES:
        try:
            return step()
        except KubeError as error:
            if error.status in _HOPELESS:
                raise
            wait(pause)
    return step()


# --- what was made ----------------------------------------------------------------------------------------------------


def _delete(cluster: Cluster, record: Record, undo: Delete, wait: Wait) -> Undone:
    removed = [what for what in undo.objects if _delete_one(cluster, record.run, what, wait)]
    text = f"removed {' and '.join(map(str, removed))}" if removed else "it is not there (any more)"
    return Undone(record.what, "restored", text, finished=True)


def _delete_one(cluster: Cluster, run: str, what: Reference, wait: Wait) -> bool:
    """False where there is nothing of the run; an object of somebody else is left alone."""
    found = read(cluster, what)
    if found is None or not _is_of(found["metadata"], run):
        return False
    uid = found["metadata"]["uid"]
    delete(cluster, what, uid=uid)
    wait_gone(cluster, what, uid=uid, seconds=GONE_SECONDS, wait=wait)
    return True


def _is_of(metadata: dict[str, dict[str, str] | None], run: str) -> bool:
    return run in ((metadata.get("annotations") or {}).get(RUN), (metadata.get("labels") or {}).get(RUN))


# --- what only an agent can repair ------------------------------------------------------------------------------------


def _repair(cluster: Cluster, record: Record, undo: RepairAgent, wait: Wait) -> Undone:
    """Where an agent is just starting, because a killed run had restarted it, it is waited for."""
    wireguard = WireGuard(cluster, wait=wait)
    wireguard.wait_agent(undo.node)
    returned = undo.run is not None and wireguard.put_key_file_back(undo.node, undo.run)
    wireguard.restart_agent(undo.node)
    keyless = undo.run is not None and not returned
    how = " with the key that it had" if returned else "; the key's file was not where it had been hidden"
    text = f"the agent of {undo.node} was restarted{how if undo.run is not None else ''}"
    return Undone(record.what, "restored", text, finished=True, keyless=keyless)


def _end(cluster: Cluster, record: Record, undo: EndContainer, wait: Wait) -> Undone:
    text = end_ephemeral(cluster, undo.namespace, undo.pod, undo.container, GONE_SECONDS, wait)
    return Undone(record.what, "restored", text, finished=True)


# --- what was changed -------------------------------------------------------------------------------------------------


def _restore(cluster: Cluster, record: Record, undo: Restore) -> Undone:
    current = read(cluster, undo.object)
    if current is None:
        return _missing(cluster, record, undo)
    uid = str(undo.before["metadata"].get("uid", ""))
    replaced = f" (it is another object now: uid {current['metadata']['uid']})" if _uid(current) != uid else ""
    if undo.after is None or replaced:
        return _standing(record, differences(undo.before, current), replaced)
    plan = revert(undo.before, undo.after, current)
    if plan.target is not None:
        current = replace(cluster, undo.object, plan.target)  # a conflict: somebody was quicker, and we look again
        if revert(undo.before, undo.after, current).target is not None:
            raise WorldError(f"{undo.object} was written back, but the API kept the change")
        return _judged(record, plan.conflicts, plan.foreign, "put back as it was")
    healed = current["metadata"].get("resourceVersion") != undo.before["metadata"].get("resourceVersion")
    undone = _judged(record, plan.conflicts, plan.foreign, "it was as before" if healed else "it was never changed")
    return changed(undone, verdict="self-healed") if healed and undone.verdict == "restored" else undone


def _missing(cluster: Cluster, record: Record, undo: Restore) -> Undone:
    if undo.after is not None:
        return Undone(record.what, "not-restored", "somebody deleted it meanwhile", finished=False, theirs=True)
    made = create(cluster, undo.object, fresh(undo.before))
    if lost := differences(undo.before, made):
        return Undone(record.what, "not-restored", f"made again, but not equal in {', '.join(lost)}", finished=True)
    return Undone(record.what, "restored", f"made again as it was (uid {_uid(made)})", finished=True)


def _standing(record: Record, different: tuple[str, ...], replaced: str) -> Undone:
    """An object that we deleted, or that somebody made anew, and that stands there."""
    if different:
        text = f"somebody made it anew{replaced}, different in {', '.join(different)}; theirs is kept"
        if not replaced:
            text = f"somebody changed {', '.join(different)} meanwhile; that is kept"
        return Undone(record.what, "not-restored", text, finished=not replaced, theirs=True)
    if replaced:
        return Undone(record.what, "self-healed", f"it is as before{replaced}", finished=True)
    return Undone(record.what, "restored", "it was never deleted", finished=True)


def _judged(record: Record, conflicts: tuple[str, ...], foreign: tuple[str, ...], text: str) -> Undone:
    if conflicts:
        text = f"somebody changed {', '.join(conflicts)} after the drill had; their change is kept"
        return Undone(record.what, "not-restored", text, finished=False, theirs=True)
    if foreign:
        text = f"{text}, but somebody changed {', '.join(foreign)} meanwhile; that is kept"
        return Undone(record.what, "not-restored", text, finished=True, theirs=True)
    return Undone(record.what, "restored", text, finished=True)


def _uid(obj: dict[str, dict[str, str]]) -> str:
    return str(obj["metadata"].get("uid", ""))

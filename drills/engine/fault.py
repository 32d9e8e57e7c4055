"""A fault in a node's WireGuard from beginning to end: captures where plaintext is looked for, the path, each change
with its undo, and the repair.

Whatever happens in between, what was changed is put back, and what was seen is kept for `faulted`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from drills.cilium.encryption import Picture
from drills.engine.actors import Actors, Part
from drills.engine.attack import TELL_SECONDS, WARM_UPS, Tell
from drills.engine.capturing import Captures
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.path import Path
from drills.engine.recovery import put_back
from drills.engine.seen import FaultSeen, Seen
from drills.engine.series import series
from drills.engine.target import Target
from drills.engine.undo import RepairAgent, Restore
from drills.errors import DrillsError, WorldError
from drills.inject import wireguard
from drills.inject.base import SHORTEST_FAULT_SECONDS, OutcomeKind
from drills.inject.wireguard import (
    EffectState,
    HideKeyFile,
    Missing,
    Plan,
    Remove,
    Replace,
    RestartAgent,
    RestoreObject,
)
from drills.kube import Service
from drills.kube.api import Obj
from drills.kube.references import Reference, delete, read, replace
from drills.kube.wireguard import WireGuard
from drills.playbook import WireguardInjection
from drills.playbook.model import Control

EFFECT_SECONDS = 30.0  # on the wall, for a change to reach all agents
RESTORED_SECONDS = 60.0  # on the wall, for handshakes after the undo
LOOK_SECONDS = 1.0  # between two looks at a fault that stands
LONGEST_BESIDE = 300.0  # wall seconds that a drill may take beside the fault's own


class Fault:
    """One fault; what it finds goes into ``seen``."""

    def __init__(
        self,
        name: str,
        injection: WireguardInjection,
        control: Control,
        world: tuple[Target, Actors, Interrupt],
        record: tuple[Seen, Journal, str],
        *,
        captures: bool,
    ) -> None:
        """``record``: where findings go, the journal, and the run's name. ``captures``: plaintext is looked for."""
        self.name = name
        self._injection, self._control = injection, control
        self._target, actors, self._interrupt = world
        self._seen, self._journal, self._run = record
        self._fault = self._seen.fault = FaultSeen()
        self._wireguard = WireGuard(self._target.cluster)
        self._path = Path(name, control, injection.node, self._target, actors)
        self._captures = Captures(self._target, self._journal, self._run, self._interrupt) if captures else None
        self._numbers: list[int] = []  # of the changes, in the journal
        self._tell: Tell = lambda *_: None

    @property
    def title(self) -> str:
        """What is done, in a few words."""
        return f"{self._injection.fault.replace('-', ' ')} on {self._injection.node}"

    @property
    def parts(self) -> list[Part]:
        """Who acts: the control alone goes across the path."""
        return [(self._control.source, "")]

    @property
    def settles(self) -> float:
        """Wall seconds that it may take until it stands."""
        return EFFECT_SECONDS

    @property
    def seconds(self) -> float:
        """How long it stands, on the wall."""
        return wall_seconds(self._injection, self._target.time_lapse)

    def targets(self) -> list[Service]:
        """No pod is attacked."""
        return []

    def prepare(self, lifetime: float) -> None:
        """Its captures' pods, if any. ``lifetime``: wall seconds that they may live at most."""
        if self._captures is not None:
            self._captures.bring(self.name, self._wireguard.nodes(), lifetime)

    def warm_up(self) -> bool:
        """Whether the path is open at all."""
        for _ in range(WARM_UPS):
            probe = self._path.once()
            self._journal.write("warm-up", drill=self.name, outcomes=probe.outcomes(), error=probe.error)
            if any(one.outcome.kind is OutcomeKind.SUCCEEDED for one in probe.attempts()):
                return True
            self._seen.control, self._seen.control_error = probe.attempts(), probe.error
            if self._interrupt.stop.wait(TELL_SECONDS):
                break
        return False

    def run(self, begin: Callable[[], None], tell: Tell, stopped: Callable[[], bool]) -> None:
        """Break it, look, repair it; ``begin`` is called before the first change."""
        self._tell = tell
        nodes, before = self._wireguard.nodes(), self._wireguard.picture()
        plan = wireguard.plan(self._injection, self._run, nodes, self._secret())
        self._journal.write("picture", drill=self.name, keys={node: keys.published for node, keys in before.items()})
        self._path.start(self.seconds + LONGEST_BESIDE)
        try:
            if self._captures is not None:
                self._captures.start(nodes)
            if not self._open_before(stopped):
                return
            begin()
            try:
                self._break(plan, before, stopped)
            finally:
                self._repair(plan, before)
        finally:
            self._path.close()
            self._keep()

    def gather(self, enough: threading.Event) -> None:
        """Nothing is left to be read."""
        del enough

    def remove(self) -> list[DrillsError]:
        """The captures' pods go; what went wrong."""
        return [] if self._captures is None else self._captures.remove()

    # --- before -------------------------------------------------------------------------------------------------------

    def _secret(self) -> Obj | None:
        where = self._secret_reference()
        return None if where is None else read(self._target.cluster, where)

    def _secret_reference(self) -> Reference | None:
        named = self._injection.secret
        if named is None:
            return None
        namespace, _, name = named.partition("/")
        return Reference("v1", "secrets", name, namespace)

    def _open_before(self, stopped: Callable[[], bool]) -> bool:
        """No fault is made on a path that is not open: nothing would follow from it."""
        began = time.time()
        while self._path.opened(began) is None:
            if stopped():
                return False
            if time.time() > began + self._path.patience or self._path.error:
                self._seen.control = self._path.attempts()
                self._seen.lack = f"the path was not open before the fault ({self._path.error or 'attempts failed'})"
                return False
            self._pause()
        return True

    # --- the fault ----------------------------------------------------------------------------------------------------

    def _break(self, plan: Plan, before: Picture, stopped: Callable[[], bool]) -> None:
        self._seen.attack_began = time.time()
        self._journal.write("attack", drill=self.name, fault=self._injection.fault, node=self._injection.node)
        for step in plan.steps:
            if step.undo is not None:
                how = _recorded(step.undo)
                self._numbers.append(self._journal.change(step.what, undo=_in_words(how), how=how))
            self._make(step.change)
        self._await_effect(plan, before, stopped)
        until = time.time() + self.seconds
        looked = time.time()
        while self._fault.happened and time.time() < until and not stopped():
            self._pause()
            if time.time() > looked + LOOK_SECONDS:
                looked = time.time()
                if not self._stands(plan, before):
                    return

    def _make(self, change: wireguard.Change) -> None:
        cluster = self._target.cluster
        match change:
            case Replace():
                replace(cluster, change.object, change.after)
            case Remove():
                delete(cluster, change.object, uid=change.before["metadata"]["uid"])
            case HideKeyFile():
                self._wireguard.hide_key_file(change.node, change.run)
            case RestartAgent():
                self._wireguard.restart_agent(change.node)
            case wireguard.DeleteDevice():
                self._wireguard.delete_device(change.node)

    def _await_effect(self, plan: Plan, before: Picture, stopped: Callable[[], bool]) -> None:
        until = time.time() + EFFECT_SECONDS
        while time.time() < until and not stopped():
            found = self._fault.effect = self._effect(plan, before)
            if found.state is EffectState.EFFECTIVE:
                self._fault.effective_at = time.time()
            if found.state is not EffectState.PENDING:
                break
            self._pause()
        found_state = None if self._fault.effect is None else self._fault.effect.state
        self._journal.write(
            "effect", drill=self.name, state=found_state, seconds=round(time.time() - until + EFFECT_SECONDS, 3)
        )

    def _stands(self, plan: Plan, before: Picture) -> bool:
        """Whether nobody has repaired it; an agent that does not answer at the moment has not."""
        found = self._effect(plan, before)
        if found.state is not EffectState.HEALED:
            return True
        self._fault.effect = found
        self._journal.write("effect", drill=self.name, state=found.state, reason=found.reason)
        return False

    def _effect(self, plan: Plan, before: Picture) -> wireguard.Effect:
        secret = self._injection.fault == "secret-deleted" and self._secret() is not None
        return wireguard.effect(plan, before, self._wireguard.picture(), secret_there=secret)

    # --- the repair ---------------------------------------------------------------------------------------------------

    def _repair(self, plan: Plan, before: Picture) -> None:
        """The last change first; then until all is as before. What cannot be put back stays recorded."""
        since = self._fault.undo_began = self._seen.attack_ended = time.time()
        self._journal.write("undo", drill=self.name, changes=len(self._numbers))
        finished = []
        for number in reversed(self._numbers):
            record = self._journal.record(number)
            if record is None:
                continue
            undone = put_back(self._target.cluster, record)
            self._fault.undone.append(undone)
            if undone.finished:
                finished.append(number)
        self._await_restored(plan, before, self._handshakes_since(since), since)
        missing = self._fault.missing
        if not (missing.lacking or missing.unknown):  # else it stays recorded: that the agents realised it is not shown
            for number in finished:
                self._journal.undone(number)
        self._fault.repair_seconds = round(self._target.playbook(time.time() - since), 1)
        if self._captures is None:
            return
        began = self._seen.attack_began or since
        found = self._fault.plaintext = self._captures.judge(began, time.time())
        self._journal.write(
            "plaintext", drill=self.name, verdict=found.verdict, packets=found.packets, reasons=found.reasons
        )

    def _handshakes_since(self, undo_began: float) -> float:
        """What a handshake must be newer than: one that somebody's repair brought was before our undo, and a fault that
        never took effect has ended no session.
        """
        effect, effective_at = self._fault.effect, self._fault.effective_at
        if effective_at is None:
            return 0.0
        return effective_at if effect is not None and effect.state is EffectState.HEALED else undo_began

    def _await_restored(self, plan: Plan, before: Picture, since: float, began: float) -> None:
        until = time.time() + RESTORED_SECONDS
        while True:
            hurried = self._interrupt.hurry.is_set()
            missing = self._missing(plan, before, since, began)
            self._fault.missing = missing.unawaited() if hurried else missing
            if missing == Missing() or time.time() > until or hurried:
                return
            self._pause()

    def _missing(self, plan: Plan, before: Picture, since: float, began: float) -> Missing:
        try:
            found = wireguard.missing_after(plan, before, self._wireguard.picture(), since)
        except WorldError as error:
            found = Missing(unknown=(str(error),))
        self._fault.reopened_at = self._path.opened(began)
        return found + self._path.missing(began)

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        self._interrupt.hurry.wait(TELL_SECONDS)
        probe = self._path.probe
        self._tell("control", probe, round(self._path.rate * (self.seconds + 2 * self._path.patience)))

    def _keep(self) -> None:
        """The control is the path without the fault; while it stood, attempts across it are the finding."""
        seen, fault = self._seen, self._fault
        began = seen.attack_began
        self._journal.write(
            "attempts", drill=self.name, role="control", outcomes=self._path.probe.outcomes(), error=self._path.error
        )
        if times := series(self._path.attempts()):
            self._journal.write("series", drill=self.name, role="control", **times)
        if began is None:
            seen.control = seen.control or self._path.attempts()
            return
        seen.control = self._path.over_before(began)
        if fault.reopened_at is not None:
            seen.control += [
                one for one in self._path.attempts(fault.reopened_at) if one.outcome.kind is not OutcomeKind.VOID
            ]
        if fault.effective_at is not None and fault.undo_began is not None:
            fault.during = self._path.attempts(fault.effective_at, fault.undo_began)


def wall_seconds(injection: WireguardInjection, time_lapse: float) -> float:
    """How long a fault stands: WireGuard's own timers are not scaled."""
    return max(SHORTEST_FAULT_SECONDS, injection.duration / time_lapse)


def _recorded(undo: wireguard.Undo) -> Restore | RepairAgent:
    if isinstance(undo, RestoreObject):
        return Restore(object=undo.object, before=undo.before, after=undo.after)
    return RepairAgent(node=undo.node, run=undo.run, published=undo.published)


def _in_words(how: Restore | RepairAgent) -> str:
    if isinstance(how, Restore):
        return "write it back as it was"
    return "put its key back and restart the agent" if how.run is not None else "restart the agent"

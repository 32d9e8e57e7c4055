"""The silences of one drill: an alert is proven without waking anybody.

Before the attack a silence is laid for each expected alert, and Alertmanager must list it as active; afterwards it is
lifted, once the alert can no longer fire for what the attack did. One whose alert still fires is left: lifting it would
wake somebody. It ends by itself, as every silence of ours.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.silences import OwnSilence
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.lifting import ends
from drills.engine.pinning import matchers
from drills.engine.recovery import put_back
from drills.engine.result import Recovery
from drills.engine.seen import Expected
from drills.engine.target import Target
from drills.engine.undo import ExpireSilence, digest
from drills.engine.undone import Undone, worst
from drills.engine.watch import Sources
from drills.errors import WorldError

ACTIVE_SECONDS: Final = 10.0  # on the wall: every member of a cluster of Alertmanagers hears of it in a second or so
LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Laid:
    """A silence with its change's number in the journal, and the alerts that it is for."""

    silence: OwnSilence
    number: int
    alerts: frozenset[str]


class Silencing:
    """The silences of one drill."""

    def __init__(
        self, names: tuple[str, str, str], target: Target, sources: Sources, journal: Journal, interrupt: Interrupt
    ) -> None:
        """``names``: of the run, the playbook and the drill."""
        run, playbook, drill = names
        self._comment = (
            f"drills: run {run}, playbook {playbook}, drill {drill}: proves this alert without waking anybody"
        )
        self._drill = drill
        self._target = target
        self._sources = sources
        self._journal = journal
        self._interrupt = interrupt
        self._laid: list[_Laid] = []

    @property
    def standing(self) -> bool:
        """Whether any was laid, or may have been."""
        return bool(self._laid)

    def lay(self, expected: Sequence[Expected], seconds: float) -> None:
        """One for every alert, to end by itself ``seconds`` (on the wall) from now; returns once all are active.

        WorldError if Alertmanager does not do that: then no attack may be made. Recorded before it is made.
        """
        alertmanager, address = self._sources.alertmanager, self._target.addresses.alertmanager
        assert alertmanager is not None
        assert address is not None
        until = time.time() + seconds
        by_labels: dict[tuple[tuple[str, str], ...], list[Expected]] = {}
        for one in expected:
            by_labels.setdefault(tuple(sorted(one.pins.items())), []).append(one)
        for labels, alerts in by_labels.items():
            silence = OwnSilence(dict(labels), self._comment, until)
            how = ExpireSilence(
                alertmanager=address, labels=dict(labels), comment=silence.comment, ends_at=silence.ends_at
            )
            what = f"silence {matchers(silence.labels)} at Alertmanager, of the drill {self._drill}"
            number = self._journal.change(what, undo=f"end it; {ends(until)}", after=digest(silence.body()), how=how)
            self._laid.append(_Laid(silence, number, frozenset(one.wanted.name for one in alerts)))
            alertmanager.create_silence(silence)
            for one in alerts:
                one.silence = silence
        self._await_active()

    def _await_active(self) -> None:
        alertmanager = self._sources.alertmanager
        assert alertmanager is not None
        until = time.time() + ACTIVE_SECONDS
        while True:
            known = [one for one in alertmanager.silences() if one.state == "active"]
            missing = [laid.silence for laid in self._laid if not any(map(laid.silence.is_this, known))]
            if not missing:
                return
            if time.time() > until or self._interrupt.stop.wait(LOOK_SECONDS):
                raise WorldError(
                    f"Alertmanager does not list the silence {matchers(missing[0].labels)} as active, so no attack is "
                    "made: it would wake somebody."
                )

    def lift(self, stirring: Collection[str], before: Recovery) -> Recovery:
        """End all but those of alerts that still fire, or may (``stirring``, by name); what that makes of the recovery
        ``before``.
        """
        found = [self._lift_one(laid, stirring) for laid in reversed(self._laid)]
        verdicts = [before.verdict, *(one.verdict for one in found)]
        reasons = [before.reason, *(f"{one.what}: {one.text}" for one in found if one.verdict != "restored")]
        return before.model_copy(
            update={
                "verdict": worst(verdicts),
                "reason": "; ".join(filter(None, reasons)),
            }
        )

    def _lift_one(self, laid: _Laid, stirring: Collection[str]) -> Undone:
        record = self._journal.record(laid.number)
        assert record is not None
        if firing := sorted(laid.alerts & set(stirring)):
            text = (
                f"left in place, because {' and '.join(firing)} still fires, or may, and somebody would be woken; "
                f"{ends(laid.silence.ends_at)}"
            )
            return Undone(record.what, "not-verified", text, finished=False)
        undone = put_back(self._target.cluster, record, alertmanager=self._target.way_to_alertmanager())
        if undone.finished:
            self._journal.undone(laid.number)
        return undone

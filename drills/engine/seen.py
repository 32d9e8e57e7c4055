"""What the phases of a drill found, before anything is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alerts.prometheus import LoadedRecord, LoadedRule
from alerts.silences import OwnSilence
from drills.engine.attempts import Classified
from drills.engine.evidence import Reading
from drills.engine.feasible import Watched
from drills.engine.guarding import Guard
from drills.engine.lives import NOTHING, Wanted
from drills.engine.result import FlowEvidence, ImageInput, PolicyInput, Recovery, SourceInput
from drills.engine.undone import Undone
from drills.engine.watch import Instance
from drills.inject.flood import Numbers
from drills.inject.plaintext import Plaintext
from drills.inject.wireguard import Effect, EffectState, Missing
from drills.kube import Service
from drills.playbook import AlertExpectation, Drill


@dataclass(slots=True)
class Expected:
    """An expected alert and the rule that is loaded for it (None: none is)."""

    spec: AlertExpectation
    wanted: Wanted
    rule: LoadedRule | None
    watched: Watched | None
    written: str | None = None  # its expression as its author wrote it; None where nobody has it
    behind: tuple[LoadedRecord, ...] = ()  # the recording rules that it stands on
    sources: frozenset[Instance] = NOTHING
    delivery: float | None = 0.0  # wall seconds that Alertmanager may hold the alert back; None: it did not say
    pins: Mapping[str, str] = field(default_factory=dict)  # the labels by which a silence hides it and no other
    silence: OwnSilence | None = None  # that the drill laid over it


@dataclass(slots=True)
class FaultSeen:
    """What was found of a fault. Instants are seconds since the epoch, None where it did not come so far."""

    effect: Effect | None = None
    effective_at: float | None = None
    undo_began: float | None = None
    reopened_at: float | None = None
    during: list[Classified] = field(default_factory=list)  # attempts across the path while it lasted
    plaintext: Plaintext | None = None
    undone: list[Undone] = field(default_factory=list)
    missing: Missing = field(default_factory=Missing)  # after the repair
    repair_seconds: float = 0.0  # of the playbook's time, from the begin of the undo until all was as before

    @property
    def happened(self) -> bool:
        """Whether it took effect, so that an alert had something to tell of."""
        return self.effective_at is not None

    @property
    def shortfall(self) -> str | None:
        """Why it was none in the end, in words; None where it lasted, or it is not known."""
        if self.effect is None or self.effect.state is EffectState.EFFECTIVE:
            return None
        return f"the fault did not last: {self.effect.reason}"


@dataclass(slots=True)
class LoadSeen:
    """What was found of a flood. ``shortfall``: why it was none, in words. ``under``: what was tried meanwhile."""

    asked: float  # requests a second of the playbook
    users: int
    workers: int
    numbers: Numbers | None = None
    shortfall: str | None = None
    reached: float = 0.0
    under: list[Under] = field(default_factory=list)


@dataclass(slots=True)
class Seen:
    """Everything that the phases found. Instants are seconds since the epoch."""

    started: float
    baseline_began: float = 0.0
    attack_began: float | None = None
    attack_ended: float | None = None
    observed_until: float | None = None
    active_before: tuple[str, ...] = ()
    attack: list[Classified] = field(default_factory=list)
    control: list[Classified] = field(default_factory=list)
    attack_error: str | None = None
    control_error: str | None = None
    service: Service | None = None  # that the attack's host means, with the backends that it had before the attack
    counter: str = ""  # the query of the counter below
    counter_before: Reading | None = None
    counter_after: Reading | None = None
    flows: FlowEvidence | None = None
    policies: list[PolicyInput] = field(default_factory=list)
    policies_after: list[PolicyInput] | None = None  # None: they were not read again
    concerned: frozenset[str] | None = None  # namespaces ("" for the cluster) whose policies may matter; None: all
    nameless: str | None = None  # that the name whose lookups were denied has no address for anybody, in a sentence
    guard: Guard = field(default_factory=Guard)  # whether policy is in force at both ends of the attack
    actors: list[SourceInput] = field(default_factory=list)
    images: list[ImageInput] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)  # what the record lacks because nobody could be asked, and why
    recovery: Recovery | None = None
    fault: FaultSeen | None = None  # of a drill that makes one; None for all others
    load: LoadSeen | None = None  # of a flood; None for all others
    lack: str | None = None  # why the attack could not be judged, or was not made at all

    @property
    def attacked(self) -> bool:
        """Whether anything was done of which an alert could tell."""
        if self.load is not None:
            return self.load.numbers is not None and self.load.numbers.requests > 0
        return bool(self.attack) if self.fault is None else self.fault.happened


@dataclass(slots=True)
class Under:
    """An attack under load, as the drill that it would be by itself, and what was seen of it."""

    spec: Drill
    title: str
    seen: Seen

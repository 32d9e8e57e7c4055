"""What a run found: the typed form of ``result.json`` (schema ``drills/result/v1``).

Seconds are playbook time; ``…At`` fields are wall clock (UTC), taken from Prometheus, Alertmanager and the receiver,
never from the poll. The field names and the words in the literals are a contract that scripts rely on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from alerts.stopped import StoppedAt

SCHEMA: Final = "drills/result/v1"

EnforcementVerdict = Literal["held", "breached", "inconclusive"]
ControlVerdict = Literal["up", "broken", "flapping"]
AlertVerdict = Literal["detected", "late", "missed", "premature", "undelivered", "not-judged"]
QuietVerdict = Literal["quiet", "noisy", "not-judged"]
Resolution = Literal["resolved", "too-late", "not-resolved", "not-judged"]
RecoveryVerdict = Literal["restored", "self-healed", "not-restored", "not-verified"]
Verdict = Literal["passed", "failed", "inconclusive", "aborted"]
Flag = Literal["marginal", "unattributed", "primed", "paged"]


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(_instant, return_type=str)]


class Model(BaseModel):
    """Snake case in Python, camel case in JSON; unknown keys are an error when a result is read back."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class CounterEvidence(Model):
    """A counter of the denying agent around the attack; it can disprove a denial, never attribute one."""

    kind: Literal["counter"] = "counter"
    query: str
    before: float
    after: float
    partial: bool = False


class FlowEvidence(Model):
    """Hubble's flows between the attacking pod and the target that carry the expected denial."""

    kind: Literal["flow"] = "flow"
    count: int
    lost: int
    events: int = 0  # flows of these attempts: more than one each where packets were sent again
    backends: dict[str, int] = Field(default_factory=dict)  # by pod, or by address outside of the cluster
    verdicts: dict[str, int] = Field(default_factory=dict)  # Hubble's, of the attempts in `count`
    reasons: dict[str, int] = Field(default_factory=dict)  # why they were dropped; a proxy's denial has none
    policies: list[str] = Field(default_factory=list)  # whose deny rule it was, as the flows name them
    default_deny: int = 0  # attempts that no rule allowed, as their flows say: no policy can be named
    partial: bool = False


class CaptureEvidence(Model):
    """Captures on all nodes around a fault, each shown to see known packets before and after it; *not-judged* where
    none were made, because the playbook does not ask.
    """

    kind: Literal["capture"] = "capture"
    plaintext: Literal["none", "seen", "not-proven", "not-judged"]
    packets: dict[str, int] = Field(default_factory=dict)  # of pods, in clear, by node
    reasons: list[str] = Field(default_factory=list)


Evidence = CounterEvidence | FlowEvidence | CaptureEvidence


class Enforcement(Model):
    """Did the policy hold?"""

    verdict: EnforcementVerdict
    reason: str = ""
    remarks: list[str] = Field(default_factory=list)  # what was found beside it; the reason ends with them
    attempts: int
    planned: int
    denied: int
    leaked: int
    outcomes: dict[str, int]
    backends: dict[str, dict[str, int]] = Field(default_factory=dict)  # outcomes by the pod that was attacked
    evidence: list[Evidence] = Field(default_factory=list)


class Control(Model):
    """Was the path up while the attack ran?"""

    verdict: ControlVerdict
    reason: str = ""
    attempts: int
    succeeded: int
    outcomes: dict[str, int] = Field(default_factory=dict)


class BoundSeconds(Model):
    """Earliest and latest firing that rule, scrape and evaluation allow once the condition holds (playbook seconds)."""

    best: float
    worst: float


class Alert(Model):
    """The life of an expected alert."""

    name: str
    verdict: AlertVerdict
    flags: list[Flag] = Field(default_factory=list)
    pending_at: Instant | None = None
    firing_at: Instant | None = None
    at_alertmanager_at: Instant | None = None
    notified_at: Instant | None = None
    resolved_at: Instant | None = None
    detection_seconds: float | None = None
    within_seconds: float
    bound_seconds: BoundSeconds | None = None
    resolves_within_seconds: float | None = None
    resolution: Resolution = "not-judged"
    stopped_at: StoppedAt | None = None
    silenced_by: list[str] = Field(default_factory=list)  # this run's own silences, as delivered by which it counts
    reason: str = ""


class Quiet(Model):
    """An alert that must not fire."""

    name: str
    verdict: QuietVerdict
    reason: str = ""


class Collateral(Model):
    """Another alert that changed while the drill ran, which the drill does not name and which is no other drill's.

    ``state`` is how far it came; *resolved* is one that was active before the attack and ended.
    """

    name: str
    labels: dict[str, str]
    state: Literal["pending", "firing", "resolved"]


class Recovery(Model):
    """Was everything put back?"""

    verdict: RecoveryVerdict
    seconds: float | None
    reason: str = ""


class During(Model):
    """An attack under a flood's load, judged by itself."""

    attack: str
    enforcement: Enforcement


class FloodLoad(Model):
    """A flood's own numbers, as Locust counted them. Requests a second are the playbook's, milliseconds the wall's."""

    users: int
    workers: int
    asked_per_second: float
    reached_per_second: float
    requests: int
    failures: int
    statuses: dict[str, int] = Field(default_factory=dict)
    milliseconds: dict[str, float] = Field(default_factory=dict)  # p50, p95, p99
    reason: str = ""  # why it was no flood


class Drill(Model):
    """One injection and what came of it."""

    name: str
    verdict: Verdict
    reasons: list[str] = Field(default_factory=list)
    started_at: Instant | None = None
    first_attempt_at: Instant | None = None
    last_attempt_at: Instant | None = None
    finished_at: Instant | None = None
    enforcement: Enforcement
    control: Control
    alerts: list[Alert] = Field(default_factory=list)
    quiet: list[Quiet] = Field(default_factory=list)
    collateral: list[Collateral] = Field(default_factory=list)
    recovery: Recovery
    during: list[During] = Field(default_factory=list)  # of a flood
    flood: FloodLoad | None = None


class TargetSummary(Model):
    """Where the run took place, and how fast its clock ran (1 is real time)."""

    kind: Literal["lab", "cluster"]
    time_lapse: float
    name: str = ""


class Change(Model):
    """One change that the run made in the cluster, and how it was undone."""

    what: str
    before: str | None = None
    after: str | None = None
    undo: str
    undone: bool


class RuleInput(Model):
    """An alert rule as its author wrote it and as Prometheus evaluated it (they differ under time-lapse).

    Its durations are playbook seconds: what Prometheus waits, times K.
    """

    name: str
    original: str | None
    evaluated: str
    for_seconds: float = 0.0
    keep_firing_for_seconds: float = 0.0
    sha256: str


class PolicyInput(Model):
    """A policy as the API had it when the attack began."""

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int
    valid: bool | None
    message: str = ""  # what Cilium says of its validity
    revisions: dict[str, int] = Field(default_factory=dict)
    sha256: str


class SourceInput(Model):
    """A pod that acted, and as whom."""

    source: str
    pod: str
    node: str
    address: str
    identity: int | None
    service_account: str


class TargetInput(Model):
    """What was acted upon, and what stood behind it."""

    host: str
    address: str | None
    backends: list[str] = Field(default_factory=list)  # pod, node, address


class ImageInput(Model):
    """An image that took part, by what the kubelet says it is (``imageID``, a digest on a cluster), and where."""

    image: str
    image_id: str
    pods: list[str]


class ReplicaInput(Model):
    """Somebody who was asked about alerts; version and start are of the process that answered at the end."""

    kind: Literal["prometheus", "alertmanager", "receiver"]
    url: str
    version: str | None = None
    revision: str | None = None
    started_at: Instant | None = None


class Inputs(Model):
    """What the verdict rests on, by hash."""

    playbook: str = ""
    policies: list[PolicyInput] = Field(default_factory=list)
    rules: list[RuleInput] = Field(default_factory=list)
    alertmanager: str = ""
    sources: list[SourceInput] = Field(default_factory=list)
    targets: list[TargetInput] = Field(default_factory=list)


class Clock(Model):
    """Whose time the verdict uses and how far it was from ours (wall seconds)."""

    source: str
    offset_at_start: float | None = None
    offset_at_end: float | None = None
    poll_gaps: list[float] = Field(default_factory=list)


class Provenance(Model):
    """What an auditor asks for."""

    versions: dict[str, str | None] = Field(default_factory=dict)  # None: nobody told; why is under not_judged
    images: list[ImageInput] = Field(default_factory=list)
    replicas: list[ReplicaInput] = Field(default_factory=list)
    inputs: Inputs = Field(default_factory=Inputs)
    actor: dict[str, str] = Field(default_factory=dict)
    changes: list[Change] = Field(default_factory=list)
    processes: dict[str, list[Instant]] = Field(default_factory=dict)  # starts seen; more than one is a restart
    clock: Clock = Field(default_factory=lambda: Clock(source="prometheus"))
    journal: str = ""
    not_judged: list[str] = Field(default_factory=list)


class Result(Model):
    """A whole run of one playbook."""

    schema_name: Literal["drills/result/v1"] = Field(default=SCHEMA, alias="schema")
    run: str
    playbook: str
    verdict: Verdict
    target: TargetSummary
    started_at: Instant
    finished_at: Instant
    drills: list[Drill]
    provenance: Provenance

    def to_json(self) -> str:
        """The text of ``result.json``."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

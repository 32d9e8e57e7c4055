"""What the policy's own counters and flows say of the denials, beside what the client saw.

A counter is everybody's: it can disprove a denial, never attribute one. Flows are told apart by the drill pod's address
and the attempt's source port. Either is *partial* where its agent restarted or lost events; then a number that is too
low proves nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from alerts.prometheus import Prometheus
from drills.cilium.flow import NO_REASON, Flow
from drills.engine.result import CounterEvidence, FlowEvidence
from drills.engine.verdict import Proof
from drills.errors import WorldError
from drills.inject.proof import ProofSpec
from drills.kube import Flows

LOST = 'sum({__name__=~"hubble_lost_events_total|cilium_bpf_ratelimit_dropped_total"})'
# Cilium's agent prefixes the metric, other Go programs do not.
AGENT_STARTS = '{__name__=~"(cilium_)?process_start_time_seconds"} and on (job, instance) cilium_policy_l7_total'

Starts = frozenset[tuple[str, float]]
Client = tuple[str | None, int | None]  # address and port that an attempt came from


@dataclass(frozen=True, slots=True)
class Reading:
    """A counter at one moment: its value, when it was sampled, and the start of every agent behind it."""

    value: float
    starts: Starts
    lost: float = 0.0  # events that the agents could not keep, since they started


def read(prometheus: Prometheus, query: str) -> Reading | None:
    """The counter now; None where Prometheus does not answer or has no such series."""
    try:
        samples = prometheus.query(query)
        starts = frozenset((one.labels.get("instance", ""), one.value) for one in prometheus.query(AGENT_STARTS))
        lost = sum(one.value for one in prometheus.query(LOST))
    except WorldError:
        return None
    return Reading(samples[0].value, starts, lost) if samples and starts else None


def read_after(
    ask: Callable[[], Reading | None], before: Reading | None, denials: int, wait: Callable[[], bool]
) -> Reading | None:
    """The counter once it has grown by ``denials``, or as it stands when ``wait`` says that time is up."""
    latest = ask()
    while before is not None and (latest is None or latest.value - before.value < denials):
        if not wait():
            break
        latest = ask()
    return latest


def counter_evidence(query: str, before: Reading | None, after: Reading | None) -> CounterEvidence | None:
    """The counter's part of the evidence; None where it could not be read at both ends."""
    if before is None or after is None:
        return None
    partial = before.starts != after.starts or after.value < before.value
    return CounterEvidence(query=query, before=before.value, after=after.value, partial=partial)


def together(parts: Sequence[Flows]) -> Flows:
    """Several readings, each from a moment that the one before it still saw, as one."""
    flows = {flow.uuid or f"{number}/{place}": flow for number, one in enumerate(parts) for place, flow in
             enumerate(one.flows)}  # fmt: skip
    return Flows(
        flows=tuple(flows.values()),
        lost=sum(one.lost for one in parts),
        nodes=parts[-1].nodes if parts else (),
        failed={node: why for one in parts for node, why in one.failed.items()},
        overwritten=tuple(sorted({node for one in parts for node in one.overwritten})),
    )


def flow_evidence(found: Flows, denied: Iterable[Client], proof: ProofSpec, *, restarted: bool = False) -> FlowEvidence:
    """The denied attempts that Hubble shows as denied: matched by the address and port that each attempt came from.

    One attempt counts once, however many packets of it were dropped and by however many nodes it was told.
    ``restarted``: an agent did, and forgot what it had seen.
    """
    attempts = list(denied)
    clients = set(attempts)
    seen: dict[Client, str] = {}
    told = _Told()
    events = 0
    for flow in found.flows:
        if not (proof.shows(flow) or proof.explains(flow)):
            continue
        ours = {client: other for client, other in _ends(flow) if client in clients}
        told.hear(flow, ours)
        if proof.shows(flow):
            events += bool(ours)
            seen |= ours
    shown = [client for client in attempts if client in seen]  # two attempts may have had the same port
    return FlowEvidence(
        count=len(shown),
        lost=found.lost,
        events=events,
        backends=_counted(seen[client] for client in shown),
        verdicts=_counted(word for client in shown for word in told.verdicts[client]),
        reasons=_counted(word for client in shown for word in told.reasons[client]),
        policies=sorted({title for client in shown for title in told.policies[client]}),
        default_deny=sum(client in told.unmatched for client in shown),
        partial=found.partial or restarted,
    )


class _Told:
    """What flows say of each attempt beside that it was denied."""

    def __init__(self) -> None:
        self.verdicts: defaultdict[Client, set[str]] = defaultdict(set)
        self.reasons: defaultdict[Client, set[str]] = defaultdict(set)
        self.policies: defaultdict[Client, set[str]] = defaultdict(set)
        self.unmatched: set[Client] = set()

    def hear(self, flow: Flow, clients: Iterable[Client]) -> None:
        """A flow of some attempts."""
        for client in clients:
            self.verdicts[client].add(flow.verdict)
            if flow.drop_reason_desc != NO_REASON:
                self.reasons[client].add(flow.drop_reason_desc)
            self.policies[client].update(policy.title for policy in flow.denied_by)
            if flow.default_denied:
                self.unmatched.add(client)


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def with_lost(flows: FlowEvidence, before: Reading | None, after: Reading | None) -> FlowEvidence:
    """What flows show, and how many events the agents' own counters say were lost meanwhile: then it is partial."""
    if before is None or after is None or after.lost <= before.lost:
        return flows
    lost = max(flows.lost, round(after.lost - before.lost))
    return flows.model_copy(update={"lost": lost, "partial": True})


def _ends(flow: Flow) -> Iterator[tuple[Client, str]]:
    """Each end as the possible client, with what is at the other: a response's source is the server."""
    if flow.ip is None or flow.l4 is None:
        return
    target = (flow.destination.pod if flow.destination else "") or flow.ip.destination
    yield (flow.ip.source, flow.l4.source_port), target
    target = (flow.source.pod if flow.source else "") or flow.ip.source
    yield (flow.ip.destination, flow.l4.destination_port), target


def proof(counter: CounterEvidence | None, flow: FlowEvidence | None) -> Proof:
    """What both say, for the verdict."""
    return Proof(
        counted=None if counter is None else counter.after - counter.before,
        counter_partial=counter is not None and counter.partial,
        flows=None if flow is None else flow.count,
        flows_partial=flow is not None and flow.partial,
    )

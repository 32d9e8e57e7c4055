"""What the policy's own counters and flows say of the denials, beside what the client saw.

A counter is everybody's: it can disprove a denial, never attribute one. Flows are told apart by the drill pod's address
and the attempt's source port. Either is *partial* where its agent restarted or lost events; then a number that is too
low proves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from alerts.prometheus import Prometheus
from drills.cilium.flow import Flow, FlowType
from drills.engine.result import CounterEvidence, FlowEvidence
from drills.engine.verdict import Proof
from drills.errors import WorldError
from drills.kube import Flows

HTTP_DENIED = 'sum(cilium_policy_l7_total{rule="denied",proxy_type="envoy"})'
# Cilium's agent prefixes the metric, other Go programs do not.
AGENT_STARTS = '{__name__=~"(cilium_)?process_start_time_seconds"} and on (job, instance) cilium_policy_l7_total'

Starts = frozenset[tuple[str, float]]
Client = tuple[str | None, int | None]  # address and port that an attempt came from


@dataclass(frozen=True, slots=True)
class Reading:
    """A counter at one moment: its value, when it was sampled, and the start of every agent behind it."""

    value: float
    starts: Starts


def read(prometheus: Prometheus, query: str) -> Reading | None:
    """The counter now; None where Prometheus does not answer or has no such series."""
    try:
        samples = prometheus.query(query)
        starts = frozenset((one.labels.get("instance", ""), one.value) for one in prometheus.query(AGENT_STARTS))
    except WorldError:
        return None
    return Reading(samples[0].value, starts) if samples else None


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


def flow_evidence(found: Flows, denied: Sequence[Client]) -> FlowEvidence:
    """The denied attempts that Hubble shows as denied: matched by the address and port that each attempt came from."""
    seen: dict[Client, str] = {}
    for flow in found.flows:
        if flow.type is FlowType.L7 and flow.denied:
            seen.update(_ends(flow))
    shown = [seen[client] for client in denied if client in seen]
    backends = dict(sorted(Counter(shown).items()))
    full = found.capacity is not None and len(found.flows) >= found.capacity
    return FlowEvidence(count=len(shown), lost=found.lost, backends=backends, partial=found.partial or full)


def _ends(flow: Flow) -> Iterator[tuple[Client, str]]:
    """Each end as the possible client, with the pod at the other: a response's source is the server."""
    if flow.ip is None or flow.l4 is None:
        return
    other = flow.destination.pod if flow.destination else ""
    yield (flow.ip.source, flow.l4.source_port), other
    other = flow.source.pod if flow.source else ""
    yield (flow.ip.destination, flow.l4.destination_port), other


def proof(counter: CounterEvidence | None, flow: FlowEvidence | None) -> Proof:
    """What both say, for the verdict."""
    return Proof(
        counted=None if counter is None else counter.after - counter.before,
        counter_partial=counter is not None and counter.partial,
        flows=None if flow is None else flow.count,
        flows_partial=flow is not None and flow.partial,
    )

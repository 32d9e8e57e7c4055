"""Did the policy hold, and was the path up: from the attempts, the evidence and the policies that a drill saw. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from drills.engine import evidence, preflight
from drills.engine.attempts import Classified, tally
from drills.engine.result import Control, CounterEvidence, Enforcement, FlowEvidence, PolicyInput
from drills.engine.seen import Seen
from drills.engine.verdict import ControlTally, Judgement, Tally, judge_control, judge_enforcement
from drills.inject.base import SLOW, OutcomeKind
from drills.inject.kinds import kind_of
from drills.playbook import Drill as Spec
from drills.playbook import FloodInjection, Playbook, WireguardInjection

SHORTEST_SILENCE: Final = 1.0  # seconds: the kernel sends the second SYN after one
SLOW_PATH: Final = 10  # times what the control's slowest hundredth takes to connect


def control(spec: Spec, seen: Seen) -> Control:
    """The control's verdict."""
    made = [one for one in seen.control if one.outcome.kind is not OutcomeKind.VOID]
    succeeded = [one.outcome.kind is OutcomeKind.SUCCEEDED for one in made]
    planned = 0 if spec.control is None or seen.fault is not None else spec.control.attempts
    verdict, reason = judge_control(ControlTally(succeeded, planned))
    return Control(
        verdict=verdict,
        reason="; ".join([seen.control_error or reason, *_slow(spec, seen)]),
        attempts=len(made),
        succeeded=sum(succeeded),
        outcomes=_outcomes(seen.control),
    )


def _slow(spec: Spec, seen: Seen) -> Iterator[str]:
    slow = sum(one.outcome.name.endswith(SLOW) for one in seen.control)
    if slow and spec.control is not None and spec.control.max_latency is not None:
        yield f"{slow} answers took longer than maxLatency ({spec.control.max_latency:g} s)"


def enforcement(spec: Spec, seen: Seen, beside: Control) -> Enforcement:
    """The enforcement's verdict, beside the control's."""
    counts = tally(preflight.attack_of(spec).attempts, seen.attack)
    counter, flows = _counter(seen), seen.flows
    doubt = short_timeout(spec, seen) or _changed_meanwhile(seen) or untried(seen)
    found = judge_enforcement(counts, beside.verdict, evidence.proof(counter, flows), doubt)
    doubts = [seen.nameless] if seen.nameless else seen.guard.doubts
    if found.verdict == "held" and doubts:
        found = Judgement("inconclusive", doubts[0])
    remarks = list(_remarks(found, seen, counter, flows))
    return Enforcement(
        verdict=found.verdict,
        reason="; ".join([_reason(found, seen, counts), *remarks]),
        remarks=remarks,
        attempts=counts.attempts,
        planned=counts.planned,
        denied=counts.denied,
        leaked=counts.leaked,
        outcomes=_outcomes(seen.attack),
        backends=_by_backend(seen),
        evidence=[one for one in (counter, flows) if one is not None],
    )


def _counter(seen: Seen) -> CounterEvidence | None:
    """The counter's evidence; None where it was not read."""
    return evidence.counter_evidence(seen.counter, seen.counter_before, seen.counter_after)


def _reason(found: Judgement, seen: Seen, counts: Tally) -> str:
    if found.verdict == "inconclusive" and (seen.lack or seen.attack_error):
        return seen.lack or f"the probe failed: {seen.attack_error}; {found.reason}"
    if found.verdict == "inconclusive" and counts.unexplained > 0:
        failed = Counter(one.outcome.name for one in seen.attack if one.outcome.kind is OutcomeKind.BROKEN)
        named = ", ".join(f"{name}: {number}" for name, number in sorted(failed.items()))
        return f"{found.reason} ({named})" if named else found.reason
    return found.reason


def _remarks(
    found: Judgement, seen: Seen, counter: CounterEvidence | None, flows: FlowEvidence | None
) -> Iterator[str]:
    """What a reader should know beside the verdict's own reason."""
    if counter is not None and counter.partial:
        yield "an agent restarted or could not be read, so its counter is partial"
    if flows is not None and flows.partial:
        yield "events were lost, or a node could not be asked, so the flows are partial"
    meanwhile = _changed_meanwhile(seen)
    if meanwhile is not None and meanwhile != found.reason:
        yield meanwhile
    yield from (
        f"{_title(one)} is not valid: {one.message}" for one in _concerning(seen, seen.policies) if one.valid is False
    )
    yield from (text for text in seen.guard.remarks if text != found.reason)
    leaks = {name: sum(made.values()) for name, made in _by_backend(seen, OutcomeKind.LEAKED).items()}
    if leaks:
        yield "by backend: " + ", ".join(
            f"{name} {leaks.get(name, 0)} of {sum(made.values())} leaked" for name, made in _by_backend(seen).items()
        )


def short_timeout(spec: Spec, seen: Seen) -> str | None:
    """Why silence proves nothing here: on a slow path an answer could still have been on its way."""
    silent = any(one.outcome.kind is OutcomeKind.DENIED and one.attempt.error == "timeout" for one in seen.attack)
    good = sorted(
        one.attempt.seconds.get("connect", 0.0) for one in seen.control if one.outcome.kind is OutcomeKind.SUCCEEDED
    )
    if not silent or not good:
        return None
    slowest = good[math.ceil(0.99 * len(good)) - 1]
    needed = max(SHORTEST_SILENCE, SLOW_PATH * slowest)
    timeout = preflight.attack_of(spec).timeout
    if timeout >= needed:
        return None
    return (
        f"a timeout of {timeout:g} s is too short to tell a denial from a slow path: the control took up to "
        f"{slowest:.3g} s to connect, so it takes {needed:.3g} s or more"
    )


def untried(seen: Seen) -> str | None:
    """Which pods behind the target no attempt went to; None if all were tried, or none are known."""
    tried = {one.attempt.address for one in seen.attack}
    backends = seen.service.backends if seen.service is not None else ()
    missed = [one.pod or one.address for one in backends if one.address not in tried]
    if not missed or len(missed) == len(backends):
        return None  # all of them: the attempts went by the Service's own address
    return f"no attempt went to {', '.join(sorted(missed))}, which stands behind the same Service"


def changed(before: Sequence[PolicyInput], after: Sequence[PolicyInput]) -> str | None:
    """Which policies are no longer those that the attack began with; None if all are."""
    old, new = {_title(one): one for one in before}, {_title(one): one for one in after}
    found = [f"{title} was removed" for title in old.keys() - new.keys()]
    found += [f"{title} was added" for title in new.keys() - old.keys()]
    for title in old.keys() & new.keys():
        if old[title].uid != new[title].uid:
            found.append(f"{title} was replaced")
        elif (old[title].generation, old[title].sha256) != (new[title].generation, new[title].sha256):
            found.append(f"{title} was changed")
    return f"the policies changed during the drill: {', '.join(sorted(found))}" if found else None


def _changed_meanwhile(seen: Seen) -> str | None:
    if seen.policies_after is None:
        return None
    return changed(_concerning(seen, seen.policies), _concerning(seen, seen.policies_after))


def concerned(playbook: Playbook, spec: Spec) -> frozenset[str] | None:
    """The namespaces whose policies can select an end of the attack, "" for those of the cluster; None: any."""
    if isinstance(spec.injection, WireguardInjection | FloodInjection):
        return None
    attack = preflight.attack_of(spec)
    target = kind_of(attack).service
    if target is None:
        return None
    return frozenset({"", target[0], playbook.source_of(attack.source).namespace})


def _concerning(seen: Seen, policies: Sequence[PolicyInput]) -> list[PolicyInput]:
    return [one for one in policies if seen.concerned is None or one.namespace in seen.concerned]


def _title(policy: PolicyInput) -> str:
    return f"{policy.kind} {policy.namespace + '/' if policy.namespace else ''}{policy.name}"


def _outcomes(attempts: Sequence[Classified]) -> dict[str, int]:
    return dict(sorted(Counter(one.outcome.name for one in attempts).items()))


def _by_backend(seen: Seen, kind: OutcomeKind | None = None) -> dict[str, dict[str, int]]:
    """Outcomes by the pod behind each attempt's address; empty where attempts did not go to pods."""
    if seen.service is None:
        return {}
    names = {one.address: one.pod or one.address for one in seen.service.backends}
    groups: dict[str, list[Classified]] = {}
    for one in seen.attack:
        if one.attempt.address in names and kind in (None, one.outcome.kind):
            groups.setdefault(names[one.attempt.address], []).append(one)
    return {name: _outcomes(made) for name, made in sorted(groups.items())}

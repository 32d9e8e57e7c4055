"""What makes a denial prove nothing, and what a reader is told of it; readiness; evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drills.cilium.flow import parse_all
from drills.engine import enforcing, evidence
from drills.engine.attempts import Classified, tally
from drills.engine.evidence import Reading
from drills.engine.guarding import Guard
from drills.engine.result import PolicyInput
from drills.engine.seen import Seen
from drills.inject.base import Attempt, Outcome, OutcomeKind
from drills.inject.proof import Maker, ProofSpec
from drills.kube import Backend, Flows, Service
from drills.playbook import Drill, Playbook, load

PLAYBOOK = Path(__file__).parents[3] / "playbooks" / "admin-path.yaml"
POLICY = PolicyInput(
    kind="CiliumNetworkPolicy", namespace="backend", name="api", uid="u1", generation=1, valid=True, sha256="a"
)


@pytest.fixture(scope="module")
def playbook() -> Playbook:
    return load(PLAYBOOK)


@pytest.fixture(scope="module")
def drill(playbook: Playbook) -> Drill:
    return playbook.drills[0]


def attempt(number: int, *, address: str = "10.0.0.1", error: str | None = None, connect: float = 0.001) -> Attempt:
    phase = "connect" if error else "receive"
    return Attempt(
        i=number, at=float(number), lag=0.0, address=address, port=80, local_address="10.0.0.9", local_port=number,
        phase=phase, error=error, status=None if error else 403, seconds={"connect": connect},
    )  # fmt: skip


def denied(number: int, **changes: object) -> Classified:
    name = "connect-timeout" if "error" in changes else "http-403"
    return Classified(attempt(number, **changes), Outcome(OutcomeKind.DENIED, name))  # type: ignore[arg-type]


def succeeded(connect: float) -> Classified:
    return Classified(attempt(0, connect=connect), Outcome(OutcomeKind.SUCCEEDED, "http-200"))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ([POLICY], None),
        ([POLICY.model_copy(update={"valid": False, "revisions": {"n": 9}})], None),
        ([POLICY.model_copy(update={"generation": 2})], "CiliumNetworkPolicy backend/api was changed"),
        ([POLICY.model_copy(update={"sha256": "b"})], "CiliumNetworkPolicy backend/api was changed"),
        ([POLICY.model_copy(update={"uid": "u2"})], "CiliumNetworkPolicy backend/api was replaced"),
        ([], "CiliumNetworkPolicy backend/api was removed"),
        ([POLICY, POLICY.model_copy(update={"name": "new"})], "CiliumNetworkPolicy backend/new was added"),
    ],
)
def test_policies_at_both_ends(after: list[PolicyInput], said: str | None) -> None:
    found = enforcing.changed([POLICY], after)
    assert found is None if said is None else said in str(found)


def test_only_policies_that_can_select_an_end_of_the_attack_matter(playbook: Playbook, drill: Drill) -> None:
    assert enforcing.concerned(playbook, drill) == {"", "backend", "frontend"}
    elsewhere = POLICY.model_copy(update={"namespace": "elsewhere", "valid": False, "message": "no"})
    seen = Seen(started=0.0, concerned=frozenset({"", "backend"}), policies=[elsewhere], policies_after=[])
    reason = enforcing.enforcement(drill, seen, enforcing.control(drill, seen)).reason
    assert "elsewhere" not in reason
    seen.concerned = None
    reason = enforcing.enforcement(drill, seen, enforcing.control(drill, seen)).reason
    assert "elsewhere/api is not valid: no" in reason
    assert "elsewhere/api was removed" in reason


@pytest.mark.parametrize(
    ("timeout", "slowest", "short"), [(5.0, 0.01, False), (5.0, 0.5, False), (5.0, 0.6, True), (0.5, 0.001, True)]
)
def test_silence_needs_a_timeout_that_a_slow_path_cannot_explain(
    drill: Drill, timeout: float, slowest: float, short: bool
) -> None:
    injection = drill.inject.http
    assert injection is not None
    inject = drill.inject.model_copy(update={"http": injection.model_copy(update={"timeout": timeout})})
    spec = drill.model_copy(update={"inject": inject})
    control = [succeeded(0.001)] * 98 + [succeeded(slowest)] * 2
    seen = Seen(started=0.0, attack=[denied(1, error="timeout")], control=control)
    assert (enforcing.short_timeout(spec, seen) is not None) == short
    seen.attack = [denied(1)]
    assert enforcing.short_timeout(spec, seen) is None, "an answer is no silence"


@pytest.mark.parametrize(("error", "answered"), [("refused", 1), ("nxdomain", 0), ("timeout", 0)])
def test_only_what_the_policys_proxies_say_carries_their_mark(error: str, answered: int) -> None:
    said = replace(attempt(1, error=error), phase="resolve")
    assert tally(1, [Classified(said, Outcome(OutcomeKind.DENIED, f"dns-{error}"))]).answered == answered
    assert tally(1, [denied(1)]).answered == 1
    assert tally(1, [denied(1, error=error)]).answered == 0, "a connection that is refused is no word of the policy"


def test_what_was_found_beside_a_policy_that_held_is_told_and_a_doubt_prevents_held(drill: Drill) -> None:
    made = [denied(number) for number in range(900)]
    starts = frozenset({("a", 1.0)})
    seen = Seen(
        started=0.0, attack=made, control=[succeeded(0.001)] * 180, policies=[POLICY],
        counter_before=Reading(0.0, starts), counter_after=Reading(900.0, starts),
    )  # fmt: skip
    found = enforcing.enforcement(drill, seen, enforcing.control(drill, seen))
    assert (found.verdict, found.remarks) == ("held", [])
    refused = POLICY.model_copy(update={"name": "typo", "valid": False, "message": "no"})
    seen.policies, seen.guard = [POLICY, refused], Guard(("no policy guards b/two",))
    found = enforcing.enforcement(drill, seen, enforcing.control(drill, seen))
    told = ["CiliumNetworkPolicy backend/typo is not valid: no", "no policy guards b/two"]
    assert (found.verdict, found.remarks) == ("held", told)
    assert found.reason.endswith("; ".join(told))
    seen.guard = Guard(("b/two is in audit mode",), ("b/two is in audit mode",))
    found = enforcing.enforcement(drill, seen, enforcing.control(drill, seen))
    assert (found.verdict, found.remarks) == ("inconclusive", told[:1])
    assert found.reason == f"b/two is in audit mode; {told[0]}"


def test_each_backend_has_its_own_outcomes(drill: Drill) -> None:
    backends = (Backend("10.0.0.1", "one", None), Backend("10.0.0.2", "two", None))
    leak = Classified(attempt(2, address="10.0.0.2"), Outcome(OutcomeKind.LEAKED, "http-200"))
    seen = Seen(started=0.0, attack=[denied(1), leak, denied(3)])
    seen.service = Service("backend", "api", "10.96.0.7", False, backends)
    found = enforcing.enforcement(drill, seen, enforcing.control(drill, seen))
    assert found.verdict == "breached"
    assert found.backends == {"one": {"http-403": 2}, "two": {"http-200": 1}}
    assert "one 0 of 2 leaked, two 1 of 1 leaked" in found.reason


def test_one_attempt_is_one_flow_however_often_its_packets_were_dropped() -> None:
    drop = (
        '{"flow":{"verdict":"DROPPED","drop_reason_desc":"POLICY_DENIED","uuid":"%d","Type":"L3_L4","event_type":{"type":1},'
        '"IP":{"source":"10.0.0.9","destination":"10.0.0.1"},"l4":{"TCP":{"source_port":%d,"destination_port":80}}}}'
    )
    silence = ProofSpec((Maker.PACKETS,))
    said = parse_all([drop % (1, 11), drop % (2, 11), drop % (3, 12), drop % (4, 99)])
    found = Flows(tuple(one.flow for one in said if one.flow), 0, ("n",), {})
    shown = evidence.flow_evidence(found, [("10.0.0.9", 11), ("10.0.0.9", 12), ("10.0.0.9", 13)], silence)
    assert (shown.count, shown.partial) == (2, False)
    assert evidence.flow_evidence(found, [], silence, restarted=True).partial
    assert evidence.flow_evidence(replace(found, overwritten=("n",)), [], silence).partial


def test_flows_say_why_and_by_whom_each_attempt_was_denied() -> None:
    end = '"IP":{"source":"10.0.0.9","destination":"10.0.0.1"},"l4":{"TCP":{"source_port":%d,"destination_port":80}}}}'
    drop = (
        '{"flow":{"verdict":"DROPPED","drop_reason_desc":"%s","uuid":"d%d","Type":"L3_L4","event_type":{"type":1},'
        + end
    )
    verdict = (
        '{"flow":{"verdict":"DROPPED","drop_reason_desc":"%s","uuid":"v%d","Type":"L3_L4","event_type":{"type":5},%s'
        + end
    )
    named = (
        '"policy_match_type":2,"ingress_denied_by":[{"name":"no","namespace":"a"}],"egress_denied_by":[{"name":"all"}],'
    )
    said = parse_all(
        [
            drop % ("POLICY_DENIED", 1, 11),
            verdict % ("POLICY_DENIED", 1, "", 11),
            drop % ("POLICY_DENY", 2, 12),
            verdict % ("POLICY_DENY", 2, named, 12),
            verdict % ("POLICY_DENY", 3, '"ingress_denied_by":[{"name":"other"}],', 99),  # somebody else's
        ]
    )
    found = Flows(tuple(one.flow for one in said if one.flow), 0, ("n",), {})
    clients = [("10.0.0.9", 11), ("10.0.0.9", 12), ("10.0.0.9", 13)]
    shown = evidence.flow_evidence(found, clients, ProofSpec((Maker.PACKETS,)))
    assert (shown.count, shown.events, shown.verdicts) == (2, 2, {"DROPPED": 2})
    assert shown.reasons == {"POLICY_DENIED": 1, "POLICY_DENY": 1}
    assert (shown.policies, shown.default_deny) == (["a/no", "all"], 1)


def test_a_pod_that_no_attempt_went_to_is_named() -> None:
    seen = Seen(started=0.0, attack=[denied(1, address="10.0.0.1"), denied(2, address="10.0.0.1")])
    one, two = Backend("10.0.0.1", "one", None), Backend("10.0.0.2", "two", None)
    seen.service = Service("backend", "api", "10.96.0.7", False, (one, two))
    assert enforcing.untried(seen) == "no attempt went to two, which stands behind the same Service"
    seen.service = replace(seen.service, backends=(one,))
    assert enforcing.untried(seen) is None
    seen.service = replace(seen.service, backends=(two,))
    assert enforcing.untried(seen) is None, "by the Service's own address, nobody can tell"

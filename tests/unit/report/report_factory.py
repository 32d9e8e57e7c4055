"""Results as runs would leave them, for the tests of the reports. Every instant is fixed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from drills.engine.result import (
    Alert,
    BoundSeconds,
    Collateral,
    Control,
    CounterEvidence,
    Drill,
    Enforcement,
    FlowEvidence,
    Inputs,
    PolicyInput,
    Provenance,
    Quiet,
    Recovery,
    Result,
    RuleInput,
    TargetSummary,
    Verdict,
)

BEGAN = datetime(2026, 3, 1, 20, 48, 0, tzinfo=UTC)
QUERY = 'sum(cilium_policy_l7_total{rule="denied",proxy_type="envoy"})'


def at(seconds: float) -> datetime:
    """An instant of the run."""
    return BEGAN + timedelta(seconds=seconds)


def held() -> Enforcement:
    return Enforcement(
        verdict="held",
        reason="900 of 900 attempts denied, and the policy counted them",
        attempts=900,
        planned=900,
        denied=900,
        leaked=0,
        outcomes={"http-403": 900},
        evidence=[
            CounterEvidence(query=QUERY, before=0, after=900),
            FlowEvidence(
                count=900,
                lost=0,
                backends={"backend/http-api-1": 450, "backend/http-api-2": 450},
                verdicts={"DROPPED": 900},
            ),
        ],
    )


def breached() -> Enforcement:
    return Enforcement(
        verdict="breached",
        reason="900 of 900 attempts got through",
        attempts=900,
        planned=900,
        denied=0,
        leaked=900,
        outcomes={"http-200": 890, "http-404": 10},
        evidence=[CounterEvidence(query=QUERY, before=0, after=0), FlowEvidence(count=0, lost=0)],
    )


def unknown(
    reason: str = "the control was broken: a denial beside a dead path proves nothing", attempts: int = 900
) -> Enforcement:
    return Enforcement(
        verdict="inconclusive",
        reason=reason,
        attempts=attempts,
        planned=900,
        denied=0,
        leaked=0,
        outcomes={"connect-timeout": attempts},
    )


def up() -> Control:
    return Control(
        verdict="up",
        reason="180 of 180 control attempts succeeded",
        attempts=180,
        succeeded=180,
        outcomes={"http-200": 180},
    )


def detected() -> Alert:
    return Alert(
        name="CiliumHTTPRequestsDenied",
        verdict="detected",
        pending_at=at(10),
        firing_at=at(14),
        at_alertmanager_at=at(14.2),
        notified_at=at(15),
        resolved_at=at(40),
        detection_seconds=118,
        within_seconds=240,
        bound_seconds=BoundSeconds(best=60, worst=90),
        resolves_within_seconds=720,
        resolution="resolved",
    )


def missed() -> Alert:
    return Alert(
        name="CiliumHTTPRequestsDenied",
        verdict="missed",
        within_seconds=240,
        bound_seconds=BoundSeconds(best=60, worst=90),
        stopped_at="no-series",
        reason="cilium_policy_l7_denied_total has no series; the nearest that exists is cilium_policy_l7_total",
    )


def unjudged(reason: str) -> Alert:
    return Alert(name="CiliumHTTPRequestsDenied", verdict="not-judged", within_seconds=240, reason=reason)


def drill(verdict: Verdict = "passed", **changes: object) -> Drill:
    """A drill that passed, but for what ``changes`` says."""
    whole = Drill(
        name="admin-path",
        verdict=verdict,
        started_at=at(0),
        first_attempt_at=at(6),
        last_attempt_at=at(18),
        finished_at=at(42),
        enforcement=held(),
        control=up(),
        alerts=[detected()],
        quiet=[Quiet(name="CiliumNodePathBroken", verdict="quiet")],
        recovery=Recovery(verdict="restored", seconds=0.4),
    )
    return whole.model_copy(update=changes)


def result(*drills: Drill, verdict: Verdict = "passed") -> Result:
    """A run in the lab at K = 15."""
    return Result(
        run="20260301-204800-ab12",
        playbook="zero-trust",
        verdict=verdict,
        target=TargetSummary(kind="lab", time_lapse=15),
        started_at=at(0),
        finished_at=at(43),
        drills=list(drills) or [drill()],
        provenance=Provenance(versions={"drills": "0.1.0"}, journal="abc"),
    )


def passed() -> Result:
    return result(drill())


def breach() -> Result:
    one = drill(
        "failed",
        reasons=["enforcement breached: 900 of 900 attempts got through"],
        enforcement=breached(),
        alerts=[unjudged("the attack was not denied")],
    )
    return result(one, verdict="failed")


def inconclusive() -> Result:
    one = drill(
        "inconclusive",
        reasons=["enforcement inconclusive: the control was broken: a denial beside a dead path proves nothing"],
        enforcement=unknown(),
        control=Control(
            verdict="broken",
            reason="only 0 of 180 control attempts succeeded",
            attempts=180,
            succeeded=0,
            outcomes={"connect-timeout": 180},
        ),
        alerts=[unjudged("the attack was not proven to be denied")],
    )
    return result(one, verdict="inconclusive")


def miss() -> Result:
    one = drill("failed", reasons=["CiliumHTTPRequestsDenied missed: no-series"], alerts=[missed()])
    return result(one, verdict="failed")


def aborted() -> Result:
    one = drill(
        "aborted",
        reasons=["interrupted by SIGINT"],
        enforcement=unknown("only 120 of 900 planned attempts were made", 120),
        alerts=[unjudged("the drill was aborted")],
        quiet=[Quiet(name="CiliumNodePathBroken", verdict="not-judged", reason="the drill was aborted")],
    )
    return result(one, verdict="aborted")


def game_day() -> Result:
    """Four drills, two of them side by side, with something of everything."""
    leak = breached().model_copy(
        update={
            "denied": 899,
            "leaked": 1,
            "outcomes": {"http-403": 899, "http-200": 1},
            "reason": "1 of 900 attempts got through",
        }
    )
    dead = Control(
        verdict="broken",
        reason="only 60 of 180 control attempts succeeded",
        attempts=180,
        succeeded=60,
        outcomes={"select": 60, "connect-timeout": 120},
    )
    drills = [
        drill(),
        drill(
            "failed",
            name="one-leak",
            enforcement=leak,
            alerts=[detected()],
            quiet=[Quiet(name="CiliumNodePathBroken", verdict="noisy", reason="firing at two polls")],
            recovery=Recovery(
                verdict="not-restored", seconds=0.4, reason="pod frontend/drill-frontend-1 is still there"
            ),
        ),
        later(
            drill(
                "inconclusive", name="database", enforcement=unknown(attempts=360), control=dead, quiet=[]
            ).model_copy(update={"alerts": [unjudged("the attack itself is inconclusive: the control was broken")]}),
        ),
        later(
            drill(
                "failed",
                name="unheard",
                enforcement=held().model_copy(
                    update={"attempts": 360, "denied": 360, "planned": 360, "outcomes": {"dns-refused": 360}}
                ),
                alerts=[missed()],
                quiet=[],
                collateral=[Collateral(name="KubePodCrashLooping", labels={"pod": "x"}, state="firing")],
            ),
        ),
    ]
    rule = RuleInput(
        name="CiliumHTTPRequestsDenied",
        original="sum(increase(cilium_policy_l7_denied_total[5m])) > 10",
        evaluated="sum(increase(cilium_policy_l7_denied_total[20s])) > 10",
        sha256="0" * 64,
    )
    policy = PolicyInput(
        kind="CiliumNetworkPolicy", namespace="backend", name="api", uid="u", generation=2, valid=False, sha256="1" * 64
    )
    whole = result(*drills, verdict="failed")
    provenance = whole.provenance.model_copy(update={"inputs": Inputs(rules=[rule], policies=[policy])})
    return whole.model_copy(update={"finished_at": at(86), "provenance": provenance})


def later(one: Drill) -> Drill:
    """The same drill 43 s later."""
    moments = ("started_at", "first_attempt_at", "last_attempt_at", "finished_at")
    return one.model_copy(update={name: getattr(one, name) + timedelta(seconds=43) for name in moments})


HOSTILE = "evil [bold red]PASSED[/] \x1b[2J\x1b]0;owned\x07\r\nadmin-path: passed \u202eedoc\u2066"


def hostile() -> Result:
    """A run whose every text from the cluster is an attack on the reader."""
    one = drill(
        "failed",
        name=HOSTILE,
        reasons=[HOSTILE],
        enforcement=breached().model_copy(update={"outcomes": {HOSTILE: 900}, "reason": HOSTILE}),
        control=up().model_copy(update={"verdict": "flapping", "reason": HOSTILE, "outcomes": {HOSTILE: 1}}),
        alerts=[missed().model_copy(update={"name": HOSTILE, "reason": HOSTILE})],
        quiet=[Quiet(name=HOSTILE, verdict="noisy", reason=HOSTILE)],
        collateral=[Collateral(name=HOSTILE, labels={"pod": HOSTILE}, state="firing")],
        recovery=Recovery(verdict="not-restored", seconds=None, reason=HOSTILE),
    )
    whole = result(one, verdict="failed")
    return whole.model_copy(
        update={
            "playbook": HOSTILE,
            "run": HOSTILE,
            "target": TargetSummary(kind="cluster", time_lapse=1, name=HOSTILE),
        }
    )

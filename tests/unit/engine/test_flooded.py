"""A flood's verdict: the worst of what was tried under it, never held without the load or beside a slow control."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.cilium.flow import parse_all
from drills.engine import flooded
from drills.engine.attempts import Classified
from drills.engine.evidence import Reading, together
from drills.engine.flood import alone, locustfile
from drills.engine.preflight import attack_of, check_capacity
from drills.engine.result import Control, Enforcement
from drills.engine.seen import LoadSeen, Seen, Under
from drills.engine.series import growth
from drills.errors import InputError
from drills.inject.base import Attempt, Outcome, OutcomeKind, in_time
from drills.inject.flood import Numbers
from drills.kube import Flows
from drills.playbook import Drill, FloodInjection, PlaybookError, load, parse

TEXT = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: flood}
spec:
  guards: {namespaces: [frontend, backend], maxRequestsPerSecond: 300}
  sources: {frontend: {namespace: frontend, labels: {app: frontend}}}
  drills:
  - name: flood
    inject:
      flood: {from: frontend, url: "http://http-api.backend/", users: 5, rate: 100/s, duration: 20s}
    control:
      http: {from: frontend, url: "http://http-api.backend/", maxLatency: 500ms}
    expect:
      during:
      - {http: {from: frontend, url: "http://http-api.backend/admin", rate: 1/s}, denied: {status: 403}}
      - {http: {from: frontend, url: "http://http-api.backend/", method: PUT, rate: 1/s}, denied: {status: 403}}
"""
UP = Control(verdict="up", attempts=20, succeeded=20)
SLOW = Control(verdict="flapping", attempts=20, succeeded=12)
FLOOD = Numbers(began=0.0, at=2.0, requests=2000, statuses={"http-200": 2000}, milliseconds={"p50": 3})


@pytest.fixture(scope="module")
def drill() -> Drill:
    return parse(TEXT, "p.yaml").drills[0]


def classified(number: int, kind: OutcomeKind, *, port: int = 0) -> Classified:
    attempt = Attempt(
        i=number, at=float(number), lag=0.0, address="10.0.0.1", port=80, local_address="10.0.0.9",
        local_port=port + number, phase="receive", error=None, status=403,
    )  # fmt: skip
    return Classified(attempt, Outcome(kind, "http-403" if kind is OutcomeKind.DENIED else "http-200"))


def seen(denied: int, leaked: int = 0) -> Seen:
    """A counter that counted the denials of two such attacks."""
    found = Seen(started=0.0, counter="denied")
    found.attack = [classified(n, OutcomeKind.DENIED) for n in range(denied)]
    found.attack += [classified(denied + n, OutcomeKind.LEAKED) for n in range(leaked)]
    starts = frozenset({("a", 1.0)})
    found.counter_before, found.counter_after = Reading(0.0, starts), Reading(40.0, starts)
    return found


def judged(drill: Drill, seens: list[Seen], control: Control = UP, shortfall: str | None = None) -> Enforcement:
    load = LoadSeen(100.0, 5, 1, numbers=FLOOD, shortfall=shortfall)
    load.under = [Under(spec, "attack", one) for spec, one in zip(alone(drill), seens, strict=True)]
    whole = Seen(started=0.0, load=load)
    return flooded.enforcement(whole, load, flooded.during(whole, load, control))


def test_attacks_under_load_are_drills_by_themselves(drill: Drill) -> None:
    first, second = alone(drill)
    assert [attack_of(one).kind for one in (first, second)] == ["http", "http"]
    assert (attack_of(first).duration, attack_of(first).attempts) == (20.0, 20)
    assert first.expect.denied is not None
    assert first.expect.denied[0].status == 403
    assert (first.control, first.expect.during) == (drill.control, ())


def test_each_has_its_own_part_of_the_counter(drill: Drill) -> None:
    found = judged(drill, [seen(20), seen(20)])
    assert (found.verdict, found.attempts, found.denied) == ("held", 40, 40)


def test_a_counter_that_shows_one_of_two_attacks_proves_neither(drill: Drill) -> None:
    short = seen(20)
    assert short.counter_after is not None
    short.counter_after = Reading(20.0, short.counter_after.starts)
    assert judged(drill, [short, short]).verdict == "breached"  # somebody else answered 403 to half of them


@pytest.mark.parametrize("control", [UP, SLOW])
@pytest.mark.parametrize("shortfall", [None, "the flood reached only 5.0 of 100 requests a second"])
def test_a_leak_is_a_leak_whatever_the_load_did(drill: Drill, control: Control, shortfall: str | None) -> None:
    found = judged(drill, [seen(20), seen(18, leaked=2)], control, shortfall)
    assert (found.verdict, found.leaked) == ("breached", 2)


def test_without_the_load_nothing_is_proven(drill: Drill) -> None:
    found = judged(drill, [seen(20), seen(20)], shortfall="the flood reached only 5.0 of 100 requests a second")
    assert (found.verdict, found.reason) == ("inconclusive", "the flood reached only 5.0 of 100 requests a second")


def test_a_control_that_the_flood_took_down_leaves_nothing_proven(drill: Drill) -> None:
    assert judged(drill, [seen(20), seen(20)], SLOW).verdict == "inconclusive"


def test_one_of_two_that_is_not_proven_is_enough(drill: Drill) -> None:
    assert judged(drill, [seen(20), seen(2)]).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("latency", "lag", "kind", "name"),
    [
        (0.4, 0.0, OutcomeKind.SUCCEEDED, "http-200"),
        (0.6, 0.0, OutcomeKind.BROKEN, "http-200-slow"),
        (0.6, 0.2, OutcomeKind.VOID, "starved"),
    ],
)
def test_an_answer_that_comes_too_late_is_none(latency: float, lag: float, kind: OutcomeKind, name: str) -> None:
    attempt = Attempt(
        i=0, at=0.0, lag=lag, address="a", port=80, local_address="b", local_port=1, phase="receive", error=None,
        status=200, seconds={"connect": latency / 2, "receive": latency / 2},
    )  # fmt: skip
    assert in_time(Outcome(OutcomeKind.SUCCEEDED, "http-200"), attempt, 0.5) == Outcome(kind, name)
    assert in_time(Outcome(OutcomeKind.BROKEN, "x"), attempt, 0.5) == Outcome(OutcomeKind.BROKEN, "x")


def test_more_than_the_target_carries_is_refused_with_what_fits(drill: Drill) -> None:
    check_capacity(drill, 15, 1500.0)
    check_capacity(drill, 60, None)
    with pytest.raises(InputError, match=r"1500 requests a second .* carries 1499: at time-lapse 14 or less it fits"):
        check_capacity(drill, 15, 1499.0)
    with pytest.raises(InputError, match="it does not even fit in real time"):
        check_capacity(drill, 1, 99.0)


def test_the_load_over_time_is_what_was_added_from_report_to_report() -> None:
    found = growth(100.0, [(101.0, {"http-200": 5}), (102.0, {"http-200": 9, "http-503": 2})])
    assert found["step"] == 1.0
    assert {name: (one["kind"], sum(one["counts"])) for name, one in found["outcomes"].items()} == {
        "http-200": ("succeeded", 9),
        "http-503": ("broken", 2),
    }
    assert growth(100.0, []) == {}


def with_locustfile(folder: Path) -> Path:
    path = folder / "p.yaml"
    path.write_text(TEXT.replace("users: 5,", "users: 5, locustfile: mine.py,"))
    return path


def test_a_locustfile_lies_beside_its_playbook(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import locust\n")
    injection = load(with_locustfile(tmp_path)).drills[0].injection
    assert isinstance(injection, FloodInjection)
    assert (locustfile(injection).name, locustfile(injection).text) == ("mine.py", "import locust\n")


def test_a_locustfile_that_is_not_there_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(PlaybookError, match=r"p\.yaml:11:\d+: there is no file .*mine\.py"):
        load(with_locustfile(tmp_path))


def test_a_locustfile_that_is_no_python_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import locust\nclass :\n")
    injection = load(with_locustfile(tmp_path)).drills[0].injection
    assert isinstance(injection, FloodInjection)
    with pytest.raises(InputError, match=r"mine\.py:2:7: invalid syntax"):
        locustfile(injection)


def test_readings_of_flows_add_up_without_repetition() -> None:
    line = '{{"flow": {{"time": "2026-01-01T00:00:0{0}Z", "uuid": "u{0}", "verdict": "DROPPED"}}}}'
    first, second, third = (one.flow for one in parse_all([line.format(n) for n in range(3)]))
    assert first is not None
    assert second is not None
    assert third is not None
    earlier = Flows((first, second), 1, ("a", "b"), {"b": "busy"})
    later = Flows((second, third), 0, ("a",), {}, ("a",))
    found = together([earlier, later])
    assert [flow.uuid for flow in found.flows] == ["u0", "u1", "u2"]
    assert (found.lost, found.failed, found.overwritten, found.partial) == (1, {"b": "busy"}, ("a",), True)

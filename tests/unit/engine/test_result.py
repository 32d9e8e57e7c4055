"""The typed result: what is written reads back, and nothing unknown does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drills.engine.result import (
    Alert,
    Change,
    Clock,
    Collateral,
    Control,
    CounterEvidence,
    Drill,
    Enforcement,
    FlowEvidence,
    Inputs,
    PolicyInput,
    Provenance,
    Recovery,
    Result,
    RuleInput,
    SourceInput,
    TargetSummary,
)

MOMENT = datetime(2026, 3, 1, 20, 48, 7, 123_000, tzinfo=UTC)


def drill(**changes: Any) -> Drill:
    whole = Drill(
        name="d",
        verdict="passed",
        enforcement=Enforcement(verdict="held", attempts=1, planned=1, denied=1, leaked=0, outcomes={"http-403": 1}),
        control=Control(verdict="up", attempts=1, succeeded=1),
        recovery=Recovery(verdict="restored", seconds=0.4),
    )
    return whole.model_copy(update=changes)


def result(**changes: Any) -> Result:
    whole = Result(
        run="r",
        playbook="p",
        verdict="passed",
        target=TargetSummary(kind="lab", time_lapse=15),
        started_at=MOMENT,
        finished_at=MOMENT + timedelta(seconds=40),
        drills=[drill()],
        provenance=Provenance(),
    )
    return whole.model_copy(update=changes)


def test_everything_an_auditor_asks_for_survives_the_file() -> None:
    evidence = [CounterEvidence(query="q", before=0, after=1, partial=True), FlowEvidence(count=1, lost=2)]
    enforcement = drill().enforcement.model_copy(update={"evidence": evidence})
    provenance = Provenance(
        versions={"cilium": "1.18.2"},
        inputs=Inputs(
            playbook="sha",
            policies=[
                PolicyInput(
                    kind="K",
                    namespace="n",
                    name="x",
                    uid="u",
                    generation=2,
                    valid=None,
                    revisions={"w1": 3},
                    sha256="s",
                )
            ],
            rules=[RuleInput(name="A", original="x[5m]", evaluated="x[20s]", sha256="s")],
            alertmanager="sha",
            sources=[
                SourceInput(
                    source="f", pod="n/p", node="w1", address="10.0.0.1", identity=None, service_account="default"
                )
            ],
        ),
        actor={"user": "ci"},
        changes=[Change(what="w", before="b", after=None, undo="u", undone=True)],
        clock=Clock(source="prometheus", offset_at_start=0.1, offset_at_end=0.2, poll_gaps=[1.5]),
        journal="sha",
        not_judged=["x"],
    )
    one = drill(
        enforcement=enforcement, collateral=[Collateral(name="C", labels={"camelCase_key": "v"}, state="firing")]
    )
    whole = result(drills=[one], provenance=provenance)
    assert Result.model_validate_json(whole.to_json()) == whole


def test_names_that_are_data_are_not_changed() -> None:
    one = drill(collateral=[Collateral(name="C", labels={"snake_case": "v"}, state="firing")])
    document = json.loads(result(drills=[one]).to_json())
    assert document["drills"][0]["collateral"][0]["labels"] == {"snake_case": "v"}
    assert document["drills"][0]["enforcement"]["outcomes"] == {"http-403": 1}


@pytest.mark.parametrize(
    "moment",
    [
        MOMENT,
        MOMENT.astimezone(timezone(timedelta(hours=2))),
    ],
)
def test_instants_are_utc_with_milliseconds(moment: datetime) -> None:
    document = json.loads(result(started_at=moment).to_json())
    assert document["startedAt"] == "2026-03-01T20:48:07.123Z"


@given(st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_instants_read_back_to_the_millisecond(moment: datetime) -> None:
    read = Result.model_validate_json(result(started_at=moment).to_json())
    assert timedelta(0) <= moment - read.started_at < timedelta(milliseconds=1)


def test_an_absent_instant_is_null() -> None:
    alert = Alert(name="A", verdict="missed", within_seconds=9)
    document = json.loads(result(drills=[drill(alerts=[alert])]).to_json())
    assert document["drills"][0]["alerts"][0]["resolvedAt"] is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("surprise",), 1),
        (("schema",), "drills/result/v2"),
        (("verdict",), "fine"),
        (("drills", 0, "enforcement", "verdict"), "maybe"),
        (("drills", 0, "control", "verdict"), "down"),
        (("drills", 0, "recovery", "undone"), True),
    ],
)
def test_unknown_words_and_keys_are_refused(path: tuple[str | int, ...], value: object) -> None:
    document = json.loads(result().to_json())
    *parents, last = path
    inner = document
    for step in parents:
        inner = inner[step]
    inner[last] = value
    with pytest.raises(ValidationError):
        Result.model_validate_json(json.dumps(document))


def test_evidence_is_told_apart_by_its_kind() -> None:
    text = '{"verdict": "held", "attempts": 1, "planned": 1, "denied": 1, "leaked": 0, "outcomes": {}, "evidence": %s}'
    flow, counter = (
        '{"kind": "flow", "count": 1, "lost": 0}',
        '{"kind": "counter", "query": "q", "before": 0, "after": 1}',
    )
    read = Enforcement.model_validate_json(text % f"[{flow}, {counter}]")
    assert [type(one) for one in read.evidence] == [FlowEvidence, CounterEvidence]

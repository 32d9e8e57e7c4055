"""What a flood's programs are told, how their numbers are read, when it was none, and when it was too much."""

from __future__ import annotations

from typing import Any

import pytest

from drills.flood.config import Config
from drills.inject import flood
from drills.inject.flood import Locustfile, Numbers, Plan, RateWatch, shortfall
from drills.playbook import FloodInjection

FILE = Locustfile("mine.py", "x = 1")


def injection(**changes: Any) -> FloodInjection:
    given = {
        "source": "frontend",
        "url": "http://http-api.backend/a?b=1",
        "users": 50,
        "rate": 100.0,
        "duration": 120.0,
    }
    return FloodInjection(**(given | changes))


def numbers(at: float, requests: int, **changes: Any) -> Numbers:
    return Numbers(**{"began": 0.0, "at": at, "requests": requests, "statuses": {"http-200": requests}} | changes)


def test_the_same_requests_in_a_part_of_the_time() -> None:
    plan = Plan.of(injection(), 15, FILE, 200.0)
    assert (plan.rate, plan.requests, plan.seconds) == (1500.0, 12_000, 8.0)
    assert (plan.host, plan.path) == ("http://http-api.backend", "/a?b=1")


@pytest.mark.parametrize(("allowed", "fastest"), [(500.0, 125.0), (110.0, 110.0), (100.0, 100.0), (99.0, 100.0)])
def test_a_pause_is_made_up_for_within_the_guard(allowed: float, fastest: float) -> None:
    assert Plan.of(injection(), 15, FILE, allowed).fastest == 15 * fastest


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_rate_and_requests_are_shared_out_without_a_rest(workers: int) -> None:
    plan = Plan.of(injection(workers=workers, rate=33.3), 15, FILE, 200.0)
    shares = [plan.worker(f"w{number}", number, 60.0) for number in range(workers)]
    assert sum(one["rate"] for one in shares) == pytest.approx(plan.rate)
    assert sum(one["fastest"] for one in shares) == pytest.approx(plan.fastest)
    assert sum(one["requests"] for one in shares) == plan.requests
    assert max(one["requests"] for one in shares) - min(one["requests"] for one in shares) <= 1


def test_programs_understand_what_they_are_told() -> None:
    plan = Plan.of(injection(workers=2), 15, FILE, 200.0)
    for told, role in ((plan.master("m", 9.0), "master"), (plan.worker("w", 1, 9.0), "worker")):
        config = Config(**told)
        assert (config.role, config.users, config.workers, config.deadline) == (role, 50, 2, 9.0)
        assert (config.locustfile, config.name) == ("x = 1", "mine.py")


def test_the_shipped_locustfile_is_there_and_is_one() -> None:
    text = flood.SHIPPED.read_text()
    compile(text, "locustfile.py", "exec")
    assert "from locust import task" in text


def test_numbers_of_a_later_program_are_read_all_the_same() -> None:
    found = Numbers.read({"began": 1.0, "at": 3.0, "requests": 4, "statuses": {"http-503": 1, "ok": 2}, "new": 1})
    assert (found.requests, found.answered, found.rate(2.0)) == (4, 3, 0.75)
    with pytest.raises(KeyError):
        Numbers.read({"requests": 4})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (numbers(8.0, 12_000), None),
        (numbers(8.0, 10_800), None),
        (numbers(8.0, 10_799), "the flood reached only 90.0 of 100 requests a second"),
        (
            numbers(8.0, 12_000, statuses={"http-200": 6000, "ConnectionRefusedError": 6000}),
            "the flood reached only 50.0 of 100 requests a second, and 6000 of 12000 requests got no answer",
        ),
    ],
)
def test_less_than_nine_tenths_of_the_rate_is_no_flood(found: Numbers, said: str | None) -> None:
    assert shortfall(found, 100.0, 15.0) == said


def exceeded(rate: float, *, limit: float = 100.0, reports: int = 40) -> bool:
    watch = RateWatch(limit, 10)
    return any(watch.exceeded(numbers(n / 2, round(rate * n / 2))) for n in range(1, reports))


@pytest.mark.parametrize(("rate", "wrong"), [(50.0, False), (100.0, False), (110.0, True), (500.0, True)])
def test_a_limit_that_is_exceeded_for_long_is_seen(rate: float, wrong: bool) -> None:
    assert exceeded(rate, reports=100) is wrong


def test_a_late_report_is_no_excess() -> None:
    watch = RateWatch(100.0, 10)
    assert not any(watch.exceeded(numbers(at, made)) for at, made in [(1.0, 100), (2.0, 100), (2.1, 210), (3.0, 300)])


def test_a_burst_after_quiet_is_seen_and_what_the_limiter_counts_is_too() -> None:
    watch = RateWatch(100.0, 10)
    assert not watch.exceeded(numbers(10.0, 100))
    assert watch.exceeded(numbers(10.5, 400))
    assert RateWatch(100.0, 10).exceeded(numbers(1.0, 0, turns=1000))

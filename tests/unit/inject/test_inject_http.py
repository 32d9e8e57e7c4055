"""What an HTTP attempt shows: a denial has a maker, every other answer is a leak, a failure proves nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drills.inject.base import Attempt, Outcome, OutcomeKind, Pace
from drills.inject.http import HttpJudge, probe_config
from drills.playbook import Denied, HttpInjection
from drills.probe.config import Config

INJECTION = HttpInjection(
    source="frontend", url="http://http-api.backend:8080/public/../admin?x=1", rate=5.0, duration=180.0, timeout=4.0
)
BY_STATUS = (Denied(status=403),)
BY_TIMEOUT = (Denied(connect="timeout"),)
BY_REFUSAL = (Denied(connect="refused"),)
ENVOY = {"server": "envoy"}
CILIUM = "Access denied\r\n"


def attempt(**fields: Any) -> Attempt:
    base: dict[str, Any] = {"i": 0, "at": 1.0, "lag": 0.0, "address": "10.0.0.1", "port": 80, "phase": "receive"}
    return Attempt(**{**base, "local_address": "10.0.0.2", "local_port": 40000, "error": None, "sent": True, **fields})


def answer(status: int, body: str = "", **headers: str) -> Attempt:
    return attempt(status=status, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def failed(phase: str, error: str, **fields: Any) -> Attempt:
    return attempt(phase=phase, error=error, sent=phase == "receive", **fields)


DENIED, LEAKED, BROKEN = OutcomeKind.DENIED, OutcomeKind.LEAKED, OutcomeKind.BROKEN
POSSIBLY, VOID = OutcomeKind.POSSIBLY_REACHED, OutcomeKind.VOID


@pytest.mark.parametrize(
    ("denied", "made", "kind", "name"),
    [
        # the maker of a 403
        (BY_STATUS, answer(403, CILIUM, server="envoy"), DENIED, "http-403"),
        (BY_STATUS, answer(403, CILIUM), DENIED, "http-403"),
        (BY_STATUS, answer(403, CILIUM, x_envoy_upstream_service_time="2"), LEAKED, "http-403-application"),
        (BY_STATUS, answer(403, CILIUM, server="nginx"), LEAKED, "http-403-application"),
        (BY_STATUS, answer(403, "<html>Forbidden", server="envoy"), LEAKED, "http-403-application"),
        (BY_STATUS, answer(403, "RBAC: access denied", server="istio-envoy"), LEAKED, "http-403-application"),
        (BY_STATUS, answer(403, ""), LEAKED, "http-403-application"),
        ((Denied(status=403, body="go away"),), answer(403, "go away\n", server="nginx"), DENIED, "http-403"),
        ((Denied(status=403, body="go away"),), answer(403, CILIUM, server="envoy"), LEAKED, "http-403"),
        ((Denied(status=429, body=""),), answer(429), DENIED, "http-429"),
        # every other answer passed the policy
        (BY_STATUS, answer(200, "hi"), LEAKED, "http-200"),
        (BY_STATUS, answer(401), LEAKED, "http-401"),
        (BY_STATUS, answer(404), LEAKED, "http-404"),
        (BY_STATUS, answer(405), LEAKED, "http-405"),
        (BY_STATUS, answer(301), LEAKED, "http-301"),
        (BY_STATUS, answer(500), LEAKED, "http-500"),
        (BY_STATUS, answer(503, "no healthy upstream", server="envoy"), LEAKED, "http-503"),
        (BY_STATUS, attempt(status=200, error="timeout"), LEAKED, "http-200"),
        (BY_STATUS, attempt(status=403, body=CILIUM, error="eof"), LEAKED, "http-403-application"),
        (BY_STATUS, failed("receive", "not-http"), LEAKED, "not-http"),
        (BY_STATUS, failed("tls", "tls-alert"), LEAKED, "tls-alert"),
        (BY_TIMEOUT, answer(403, CILIUM, server="envoy"), LEAKED, "http-403"),
        # only the phase that denied names counts
        (BY_TIMEOUT, failed("connect", "timeout"), DENIED, "connect-timeout"),
        (BY_STATUS, failed("connect", "timeout"), BROKEN, "connect-timeout"),
        (BY_TIMEOUT, failed("resolve", "unresolved"), BROKEN, "resolve-unresolved"),
        (BY_TIMEOUT, failed("connect", "unreachable"), BROKEN, "connect-unreachable"),
        (BY_TIMEOUT, failed("connect", "local"), BROKEN, "connect-local"),
        (BY_REFUSAL, failed("connect", "refused"), DENIED, "connect-refused"),
        (BY_REFUSAL, failed("connect", "timeout"), BROKEN, "connect-timeout"),
        (BY_STATUS, failed("connect", "refused"), BROKEN, "connect-refused"),
        # a reset from a pod passed the policy; a completed connect is a leak whatever follows
        (BY_TIMEOUT, failed("connect", "refused"), LEAKED, "connect-refused"),
        (BY_TIMEOUT, failed("receive", "timeout"), LEAKED, "connected"),
        (BY_TIMEOUT, failed("tls", "eof"), LEAKED, "connected"),
        # what happens after the request was sent
        (BY_STATUS, failed("receive", "reset"), POSSIBLY, "receive-reset"),
        (BY_STATUS, failed("receive", "timeout"), POSSIBLY, "receive-timeout"),
        (BY_STATUS, failed("receive", "eof"), POSSIBLY, "receive-eof"),
        (BY_STATUS, failed("send", "reset"), BROKEN, "send-reset"),
        (BY_STATUS, failed("tls", "timeout"), BROKEN, "tls-timeout"),
        # either, and any
        (BY_STATUS + BY_TIMEOUT, failed("connect", "timeout"), DENIED, "connect-timeout"),
        (BY_STATUS + BY_TIMEOUT, answer(403, CILIUM, server="envoy"), DENIED, "http-403"),
        (BY_STATUS + BY_TIMEOUT, failed("receive", "reset"), POSSIBLY, "receive-reset"),
        ((), answer(403, CILIUM, server="envoy"), DENIED, "http-403"),
        ((), answer(403, "mine"), LEAKED, "http-403-application"),
        ((), failed("connect", "timeout"), DENIED, "connect-timeout"),
        ((), failed("connect", "refused"), LEAKED, "connect-refused"),
        ((), failed("resolve", "unresolved"), BROKEN, "resolve-unresolved"),
        # attempts that were never really made
        (BY_TIMEOUT, failed("connect", "timeout", lag=1.1), VOID, "starved"),
        (BY_TIMEOUT, failed("connect", "timeout", lag=0.9), DENIED, "connect-timeout"),
        (BY_STATUS, failed("receive", "stopped"), VOID, "stopped"),
        (BY_STATUS, failed("connect", "deadline"), VOID, "deadline"),
        (BY_STATUS, attempt(status=200, error="stopped", lag=9.0), LEAKED, "http-200"),
    ],
)  # fmt: skip
def test_attack(denied: tuple[Denied, ...], made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert HttpJudge(INJECTION, denied).attack(made) == Outcome(kind, name)


ANY: tuple[Denied, ...] = ()
WITH_BODY = (Denied(status=403, body="go away"),)
TOLD = "Access denied%0D%0A"


def grpc(status: str, message: str = TOLD, **more: str) -> Attempt:
    """An answer without a body, as Envoy gives it to a gRPC client."""
    return answer(200, content_type="application/grpc", grpc_status=status, grpc_message=message, **more)


@pytest.mark.parametrize(
    ("denied", "made", "kind", "name"),
    [
        (BY_STATUS, grpc("7", server="envoy"), DENIED, "grpc-7"),
        (BY_STATUS, grpc("7"), DENIED, "grpc-7"),
        (ANY, grpc("7", server="envoy"), DENIED, "grpc-7"),
        (WITH_BODY, grpc("7", "go%20away"), DENIED, "grpc-7"),
        (BY_STATUS, grpc("7", server="nginx"), LEAKED, "http-200"),
        (BY_STATUS, grpc("7", "no such user", server="envoy"), LEAKED, "http-200"),
        (BY_STATUS, grpc("7", x_envoy_upstream_service_time="2"), LEAKED, "http-200"),
        (BY_STATUS, grpc("12", server="envoy"), LEAKED, "http-200"),
        (BY_STATUS, grpc("0", ""), LEAKED, "http-200"),
        (BY_STATUS, answer(200, "Access denied", grpc_status="7", grpc_message=TOLD), LEAKED, "http-200"),
        (BY_TIMEOUT, grpc("7", server="envoy"), LEAKED, "http-200"),
    ],
)
def test_a_grpc_client_is_told_of_a_denial_in_its_own_words(
    denied: tuple[Denied, ...], made: Attempt, kind: OutcomeKind, name: str
) -> None:
    assert HttpJudge(INJECTION, denied).attack(made) == Outcome(kind, name)


@pytest.mark.parametrize(
    ("path", "made", "kind", "name"),
    [
        ("/api/..%2Fadmin", answer(307, server="envoy", location="http://elsewhere/"), BROKEN, "http-307-proxy"),
        ("/api/..%5cadmin", answer(307, server="envoy", location="/admin"), BROKEN, "http-307-proxy"),
        ("/api/..%2fadmin", answer(307, server="nginx", location="/admin"), LEAKED, "http-307"),
        ("/api/..%2fadmin", answer(307, server="envoy", x_envoy_upstream_service_time="1"), LEAKED, "http-307"),
        ("/api/..%2fadmin", answer(200, server="envoy"), LEAKED, "http-200"),
        ("/api/..%2fadmin", answer(403, CILIUM, server="envoy"), DENIED, "http-403"),
        ("/api/%2e%2e/admin", answer(307, server="envoy", location="/admin"), LEAKED, "http-307"),
    ],
)
def test_a_proxy_that_spells_a_path_anew_has_not_asked_the_policy_yet(
    path: str, made: Attempt, kind: OutcomeKind, name: str
) -> None:
    injection = INJECTION.model_copy(update={"url": f"http://http-api.backend{path}"})

    assert HttpJudge(injection, BY_STATUS).attack(made) == Outcome(kind, name)


def test_a_service_without_backends_refuses_by_itself() -> None:
    judge = HttpJudge(INJECTION, BY_TIMEOUT, backends=False)
    assert judge.attack(failed("connect", "refused")) == Outcome(BROKEN, "connect-refused")


@pytest.mark.parametrize(
    ("made", "kind", "name"),
    [
        (answer(200), OutcomeKind.SUCCEEDED, "http-200"),
        (answer(204), BROKEN, "http-204"),
        (answer(403, CILIUM, server="envoy"), BROKEN, "http-403"),
        (answer(403, "mine"), BROKEN, "http-403-application"),
        (attempt(status=200, error="timeout"), BROKEN, "receive-timeout"),
        (failed("connect", "timeout"), BROKEN, "connect-timeout"),
        (failed("resolve", "unresolved"), BROKEN, "resolve-unresolved"),
        (failed("receive", "stopped"), VOID, "stopped"),
        (failed("connect", "timeout", lag=3.0), VOID, "starved"),
    ],
)
def test_control(made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert HttpJudge(INJECTION).control(made) == Outcome(kind, name)


def test_the_probe_understands_its_configuration_and_sends_the_path_as_written() -> None:
    config = Config.read(json.dumps(probe_config("attack", INJECTION, scale=15, addresses=["10.0.0.1"])))
    assert (config.host, config.port, config.authority) == ("http-api.backend", 8080, "http-api.backend:8080")
    assert config.target == "/public/../admin?x=1"
    assert (config.rate, config.attempts, config.timeout) == (75.0, 900, 4.0)
    assert config.deadline == 12 + 4 + 5
    assert config.concurrency == 375


@pytest.mark.parametrize(("scale", "rate", "seconds"), [(1, 5.0, 180.0), (15, 75.0, 12.0), (200, 1000.0, 0.9)])
def test_the_clock_scales_rate_and_duration_and_keeps_the_number(scale: float, rate: float, seconds: float) -> None:
    pace = Pace.of(INJECTION, scale)
    assert (pace.rate, pace.attempts, pace.seconds) == (rate, 900, seconds)


def test_an_attempt_is_read_from_the_probe() -> None:
    line = {"i": 3, "at": 5.0, "lag": 0.1, "address": "10.0.0.1", "port": 80, "localAddress": "10.0.0.2"}
    line |= {"localPort": 4, "phase": "receive", "error": None, "seconds": {"connect": 0.1, "send": 0.2}, "later": 1}
    made = Attempt.read(line)
    assert (made.i, made.local_address, made.local_port, made.connected) == (3, "10.0.0.2", 4, True)
    assert made.latency == pytest.approx(0.3)
    with pytest.raises(KeyError):
        Attempt.read({"i": 1})

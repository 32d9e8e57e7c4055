"""What a TCP or a PostgreSQL attempt shows: silence before the connection is a denial, what a server says a leak."""

from __future__ import annotations

import json

import pytest
from inject_attempts import attempt

from drills.inject.base import Attempt, Outcome, OutcomeKind
from drills.inject.kinds import kind_of
from drills.inject.postgres import PostgresJudge
from drills.inject.tcp import TcpJudge
from drills.playbook import Denied, PostgresInjection, TcpInjection
from drills.probe.config import Config

TCP = TcpInjection(source="frontend", host="database.database", port=5432, rate=2.0, duration=180.0)
POSTGRES = PostgresInjection(
    source="frontend", host="database.database", user="appuser", database="appdb", rate=2.0, duration=180.0
)
SILENCE = (Denied(connect="timeout"),)
REFUSAL = (Denied(connect="refused"),)
DENIED, LEAKED, BROKEN = OutcomeKind.DENIED, OutcomeKind.LEAKED, OutcomeKind.BROKEN
POSSIBLY, VOID, SUCCEEDED = OutcomeKind.POSSIBLY_REACHED, OutcomeKind.VOID, OutcomeKind.SUCCEEDED

BEFORE_THE_CONNECTION = [
    (SILENCE, attempt("connect", "timeout"), DENIED, "connect-timeout"),
    (SILENCE, attempt("resolve", "unresolved", address=None), BROKEN, "resolve-unresolved"),
    (SILENCE, attempt("connect", "refused"), LEAKED, "connect-refused"),
    (SILENCE, attempt("connect", "unreachable"), BROKEN, "connect-unreachable"),
    (SILENCE, attempt("connect", "reset"), BROKEN, "connect-reset"),
    (SILENCE, attempt("connect", "local"), BROKEN, "connect-local"),
    (SILENCE, attempt("connect", "timeout", lag=0.6), VOID, "starved"),
    (SILENCE, attempt("connect", "timeout", lag=0.4), DENIED, "connect-timeout"),
    (SILENCE, attempt("connect", "stopped"), VOID, "stopped"),
    (SILENCE, attempt("connect", "deadline"), VOID, "deadline"),
    (REFUSAL, attempt("connect", "refused"), DENIED, "connect-refused"),
    (REFUSAL, attempt("connect", "timeout"), BROKEN, "connect-timeout"),
    (SILENCE + REFUSAL, attempt("connect", "refused"), DENIED, "connect-refused"),
    ((), attempt("connect", "timeout"), DENIED, "connect-timeout"),
    ((), attempt("connect", "refused"), LEAKED, "connect-refused"),
]


@pytest.mark.parametrize(
    ("denied", "made", "kind", "name"),
    [
        *BEFORE_THE_CONNECTION,
        (SILENCE, attempt("connected"), LEAKED, "connected"),
        (REFUSAL, attempt("connected"), LEAKED, "connected"),
        ((), attempt("connected"), LEAKED, "connected"),
    ],
)
def test_tcp_attack(denied: tuple[Denied, ...], made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert TcpJudge(TCP, denied).attack(made) == Outcome(kind, name)


@pytest.mark.parametrize(
    ("denied", "made", "kind", "name"),
    [
        *BEFORE_THE_CONNECTION,
        # whatever the server says
        (SILENCE, attempt("query"), LEAKED, "selected"),
        ((), attempt("query"), LEAKED, "selected"),
        ((), attempt("query", "stopped"), LEAKED, "logged-in"),
        ((), attempt("login", "server-error"), LEAKED, "server-error"),
        (SILENCE, attempt("login", "server-error"), LEAKED, "server-error"),
        ((), attempt("query", "server-error"), LEAKED, "server-error"),
        # a connection that stands is a leak under silence, and nothing known under "any denial"
        (SILENCE, attempt("login", "timeout"), LEAKED, "connected"),
        (SILENCE, attempt("login", "stopped"), LEAKED, "connected"),
        (SILENCE, attempt("login", "eof", sent=False), LEAKED, "connected"),
        ((), attempt("login", "timeout"), POSSIBLY, "login-timeout"),
        ((), attempt("login", "reset"), POSSIBLY, "login-reset"),
        ((), attempt("login", "eof"), POSSIBLY, "login-eof"),
        ((), attempt("login", "eof", sent=False), BROKEN, "login-eof"),
        ((), attempt("login", "stopped"), VOID, "stopped"),
    ],
)
def test_postgres_attack(denied: tuple[Denied, ...], made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert PostgresJudge(POSTGRES, denied).attack(made) == Outcome(kind, name)


def test_a_service_without_backends_refuses_by_itself() -> None:
    refused = attempt("connect", "refused")
    assert TcpJudge(TCP, SILENCE, backends=False).attack(refused) == Outcome(BROKEN, "connect-refused")
    assert PostgresJudge(POSTGRES, SILENCE, backends=False).attack(refused) == Outcome(BROKEN, "connect-refused")


@pytest.mark.parametrize(
    ("made", "kind", "name"),
    [
        (attempt("connected"), SUCCEEDED, "connected"),
        (attempt("connect", "timeout"), BROKEN, "connect-timeout"),
        (attempt("connect", "refused"), BROKEN, "connect-refused"),
        (attempt("connect", "timeout", lag=1.0), VOID, "starved"),
    ],
)
def test_tcp_control(made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert TcpJudge(TCP).control(made) == Outcome(kind, name)


@pytest.mark.parametrize(
    ("made", "kind", "name"),
    [
        (attempt("query"), SUCCEEDED, "selected"),
        (attempt("query", "timeout"), BROKEN, "query-timeout"),
        (attempt("query", "server-error"), BROKEN, "query-server-error"),
        (attempt("login", "server-error"), BROKEN, "login-server-error"),
        (attempt("connect", "timeout"), BROKEN, "connect-timeout"),
        (attempt("login", "stopped"), VOID, "stopped"),
    ],
)
def test_postgres_control(made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert PostgresJudge(POSTGRES).control(made) == Outcome(kind, name)


def test_the_probe_understands_its_configurations() -> None:
    tcp = Config.read(json.dumps(kind_of(TCP).config("a", scale=15, addresses=["10.0.0.1"])))
    assert (tcp.kind, tcp.host, tcp.port, tcp.addresses) == ("tcp", "database.database", 5432, ("10.0.0.1",))
    assert (tcp.rate, tcp.attempts, tcp.timeout, tcp.deadline) == (30.0, 360, 2.0, 12 + 2 + 5)
    postgres = Config.read(json.dumps(kind_of(POSTGRES).config("a", scale=15, password="it's \\ secret")))
    assert (postgres.kind, postgres.port, postgres.user) == ("postgres", 5432, "appuser")
    assert (postgres.database, postgres.password) == ("appdb", "it's \\ secret")


def test_a_password_shows_in_the_probe_s_input_alone() -> None:
    config = kind_of(POSTGRES).config("a", scale=1, password="geheim")
    assert "geheim" not in repr(config)
    assert "geheim" not in f"{config}"
    assert "geheim" in json.dumps(config)

"""What a lookup and the connection after it show: an answer is a leak where the lookup is to be denied, else the
connection decides; who refused, evidence must tell.
"""

from __future__ import annotations

import json

import pytest
from inject_attempts import attempt

from drills.inject.base import Attempt, Outcome, OutcomeKind
from drills.inject.dns import DnsJudge, answers
from drills.inject.kinds import kind_of
from drills.playbook import Denied, DnsInjection
from drills.probe.config import Config

NAME = DnsInjection(source="backend", name="malicious-site.com", rate=2.0, duration=180.0)
ADDRESS = DnsInjection(source="backend", name="198.18.0.9", rate=2.0, duration=180.0)
REFUSED = (Denied(dns="refused"),)
NXDOMAIN = (Denied(dns="nxdomain"),)
SILENCE = (Denied(connect="timeout"),)
DENIED, LEAKED, BROKEN = OutcomeKind.DENIED, OutcomeKind.LEAKED, OutcomeKind.BROKEN
VOID, SUCCEEDED = OutcomeKind.VOID, OutcomeKind.SUCCEEDED


@pytest.mark.parametrize(
    ("denied", "made", "kind", "name"),
    [
        # the lookup is to be denied
        (REFUSED, attempt("resolve", "refused"), DENIED, "dns-refused"),
        (REFUSED, attempt("resolve", "nxdomain"), BROKEN, "dns-nxdomain"),
        (NXDOMAIN, attempt("resolve", "nxdomain"), DENIED, "dns-nxdomain"),
        (NXDOMAIN, attempt("resolve", "refused"), BROKEN, "dns-refused"),
        (REFUSED + NXDOMAIN, attempt("resolve", "nxdomain"), DENIED, "dns-nxdomain"),
        (REFUSED, attempt("resolve", "timeout"), BROKEN, "resolve-timeout"),
        (REFUSED, attempt("resolve", "unreachable"), BROKEN, "resolve-unreachable"),
        (REFUSED, attempt("resolve", "servfail"), BROKEN, "dns-servfail"),
        (REFUSED, attempt("resolve", "no-nameserver"), BROKEN, "resolve-no-nameserver"),
        # and was not: any answer about the name, whatever became of the connection
        (REFUSED, attempt("connected"), LEAKED, "dns-answered"),
        (REFUSED, attempt("connect", "timeout"), LEAKED, "dns-answered"),
        (REFUSED, attempt("connect", "refused"), LEAKED, "dns-answered"),
        (REFUSED, attempt("connect", "stopped"), LEAKED, "dns-answered"),
        (REFUSED, attempt("resolve", "no-address"), LEAKED, "dns-answered"),
        (REFUSED, attempt("resolve", "truncated"), LEAKED, "dns-answered"),
        # the connection is to be denied: only that phase counts
        (SILENCE, attempt("connect", "timeout"), DENIED, "connect-timeout"),
        (SILENCE, attempt("resolve", "timeout"), BROKEN, "resolve-timeout"),
        (SILENCE, attempt("resolve", "refused"), BROKEN, "dns-refused"),
        (SILENCE, attempt("resolve", "nxdomain"), BROKEN, "dns-nxdomain"),
        (SILENCE, attempt("resolve", "no-address"), BROKEN, "dns-no-address"),
        (SILENCE, attempt("connect", "refused"), LEAKED, "connect-refused"),
        (SILENCE, attempt("connect", "unreachable"), BROKEN, "connect-unreachable"),
        (SILENCE, attempt("connected"), LEAKED, "connected"),
        # either, and any
        (REFUSED + SILENCE, attempt("resolve", "refused"), DENIED, "dns-refused"),
        (REFUSED + SILENCE, attempt("connect", "timeout"), DENIED, "connect-timeout"),
        (REFUSED + SILENCE, attempt("connected"), LEAKED, "connected"),
        ((), attempt("resolve", "refused"), DENIED, "dns-refused"),
        ((), attempt("resolve", "nxdomain"), DENIED, "dns-nxdomain"),
        ((), attempt("resolve", "servfail"), BROKEN, "dns-servfail"),
        ((), attempt("connect", "timeout"), DENIED, "connect-timeout"),
        ((), attempt("connected"), LEAKED, "connected"),
        # attempts that were never really made
        (SILENCE, attempt("connect", "stopped"), VOID, "stopped"),
        (REFUSED, attempt("resolve", "stopped"), VOID, "stopped"),
        (SILENCE, attempt("connect", "timeout", lag=0.6), VOID, "starved"),
    ],
)
def test_attack(denied: tuple[Denied, ...], made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert DnsJudge(NAME, denied).attack(made) == Outcome(kind, name)


@pytest.mark.parametrize(
    ("denied", "made", "kind", "name"),
    [
        (SILENCE, attempt("connected"), BROKEN, "shared-address"),
        ((), attempt("connected"), BROKEN, "shared-address"),
        (SILENCE, attempt("connect", "refused"), BROKEN, "shared-address"),
        (SILENCE, attempt("connect", "timeout"), DENIED, "connect-timeout"),
        (SILENCE, attempt("connected", address="10.0.0.9"), LEAKED, "connected"),
        (REFUSED, attempt("connected"), LEAKED, "dns-answered"),
        (REFUSED + SILENCE, attempt("connected"), BROKEN, "shared-address"),
    ],
)
def test_an_address_that_another_name_admits_proves_nothing(
    denied: tuple[Denied, ...], made: Attempt, kind: OutcomeKind, name: str
) -> None:
    assert DnsJudge(NAME, denied, frozenset({"10.0.0.1"})).attack(made) == Outcome(kind, name)


@pytest.mark.parametrize(
    ("denied", "made", "kind", "name"),
    [
        (SILENCE, attempt("connect", "timeout"), DENIED, "connect-timeout"),
        (SILENCE, attempt("connected"), LEAKED, "connected"),
        ((), attempt("connect", "timeout"), DENIED, "connect-timeout"),
        (REFUSED, attempt("connect", "timeout"), BROKEN, "connect-timeout"),  # nothing was looked up
        (REFUSED, attempt("connected"), LEAKED, "dns-answered"),
    ],
)
def test_an_address_without_a_lookup(denied: tuple[Denied, ...], made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert DnsJudge(ADDRESS, denied).attack(made).kind == kind
    assert name in ("dns-answered", DnsJudge(ADDRESS, denied).attack(made).name)


@pytest.mark.parametrize(
    ("made", "kind", "name"),
    [
        (attempt("connected"), SUCCEEDED, "connected"),
        (attempt("connect", "timeout"), BROKEN, "connect-timeout"),
        (attempt("resolve", "refused"), BROKEN, "dns-refused"),
        (attempt("resolve", "nxdomain"), BROKEN, "dns-nxdomain"),
        (attempt("resolve", "timeout"), BROKEN, "resolve-timeout"),
        (attempt("resolve", "stopped"), VOID, "stopped"),
    ],
)
def test_control(made: Attempt, kind: OutcomeKind, name: str) -> None:
    assert DnsJudge(NAME).control(made) == Outcome(kind, name)


def test_a_name_is_absolute_and_an_address_is_not_looked_up() -> None:
    name = Config.read(json.dumps(kind_of(NAME).config("a", scale=15)))
    assert (name.kind, name.host, name.port, name.qtype, name.addresses) == ("dns", "malicious-site.com.", 443, "A", ())
    assert (name.rate, name.attempts, name.timeout, name.deadline) == (30.0, 360, 2.0, 12 + 4 + 5)
    address = Config.read(json.dumps(kind_of(ADDRESS).config("a", scale=15)))
    assert (address.host, address.addresses, address.deadline) == ("198.18.0.9", ("198.18.0.9",), 12 + 2 + 5)


def test_the_answer_is_kept() -> None:
    assert answers(attempt("connect", "timeout", body="10.0.0.1 10.0.0.2")) == {"10.0.0.1", "10.0.0.2"}
    assert answers(attempt("resolve", "refused")) == frozenset()

"""What a drill tries, in words, for the journal: whoever reads the report has no playbook at hand.

Header values, bodies and passwords are left out: a reader does not need them, and they may be secrets.
"""

from __future__ import annotations

from collections.abc import Iterator

from drills.playbook import (
    Denied,
    DnsInjection,
    Drill,
    ExistingPod,
    FloodInjection,
    HttpInjection,
    Playbook,
    PostgresInjection,
    TcpInjection,
    WireguardInjection,
)
from drills.playbook.model import Control, From, Injection
from drills.units import format_duration, format_rate


def plan(drill: Drill, playbook: Playbook) -> dict[str, str]:
    """The fields of the journal's event ``plan``: ``attack``, ``control`` and ``expected``, each a phrase; what the
    drill lacks is left out.
    """
    found = {"attack": action(drill.injection, playbook)}
    if drill.control is not None:
        limit = drill.control.max_latency
        found["control"] = action(drill.control, playbook) + (f", answered within {limit:g} s" if limit else "")
    if drill.expect.denied is not None:
        found["expected"] = (
            " or ".join(map(denial, drill.expect.denied)) or "any denial that a counter or a flow proves"
        )
    elif isinstance(drill.injection, FloodInjection):
        found["expected"] = "meanwhile " + "; ".join(
            f"{action(under.injection, playbook)}: "
            + (" or ".join(map(denial, under.denied)) or "any denial that a counter or a flow proves")
            for under in drill.expect.during
        )
    elif isinstance(drill.injection, WireguardInjection):
        path = drill.expect.path
        clear = ["no packet of a pod leaves in clear"] if drill.expect.plaintext is not None else []
        found["expected"] = ", ".join([*clear, *([f"the path between the nodes is {path}"] if path else [])])
    return found


def action(injection: Injection | Control, playbook: Playbook) -> str:
    """``GET http://http-api.backend/admin, 5/s for 3m, from frontend (a pod in frontend with app=frontend)``."""
    parts = [_what(injection), *_pace(injection)]
    if not isinstance(injection, WireguardInjection):
        parts.append(f"from {actor(injection.source, playbook)}")
    return ", ".join(parts)


def actor(source: From, playbook: Playbook) -> str:
    """Who acts, as the policy sees it."""
    found = playbook.source_of(source)
    if isinstance(found, ExistingPod):
        return f"the pod {found.pod}" + (", in an ephemeral container" if found.ephemeral else "")
    labels = ", ".join(f"{key}={value}" for key, value in found.labels.items()) or "no labels"
    account = f", service account {found.service_account}" if found.service_account else ""
    node = f", on {found.node}" if found.node else ""
    identity = f"a pod in namespace {found.namespace} with {labels}{account}{node}"
    return f"{source} ({identity})" if isinstance(source, str) else identity


def denial(denied: Denied) -> str:
    """How a denial looks to whoever tried."""
    if denied.status is not None:
        maker = "from the policy" if denied.body is None else f"with the body {denied.body!r}"
        return f"HTTP {denied.status} {maker}"
    if denied.connect is not None:
        return "no answer to the connection" if denied.connect == "timeout" else "a refused connection"
    return "a refused lookup" if denied.dns == "refused" else "a name that does not exist"


def _what(injection: Injection | Control) -> str:
    match injection:
        case HttpInjection():
            headers = f" with {', '.join(injection.headers)}" if injection.headers else ""
            return f"{injection.method} {injection.url}{headers}"
        case DnsInjection():
            return f"look up {injection.name}, then connect to port {injection.port}"
        case TcpInjection():
            return f"connect to {injection.host} port {injection.port}"
        case PostgresInjection():
            place = f"{injection.host} port {injection.port}"
            return f"log in to PostgreSQL at {place} as {injection.user}, database {injection.database}, and SELECT 1"
        case FloodInjection():
            return f"load on {injection.url} by {injection.users} users of Locust"
        case WireguardInjection():
            return f"WireGuard on {injection.node}: {injection.fault.replace('-', ' ')}"


def _pace(injection: Injection | Control) -> Iterator[str]:
    duration = format_duration(round(injection.duration * 1000))
    yield (
        f"for {duration}"
        if isinstance(injection, WireguardInjection)
        else (f"{format_rate(injection.rate)} for {duration}")
    )

"""HTTP attempts: what the probe is told, and how an answer is judged by its maker.

A denial by Cilium's proxy is status 403 with the body ``Access denied``, made by Envoy itself: no
``x-envoy-upstream-service-time``, for nothing upstream was asked. The application's own 403, a mesh's, or any other
answer has passed the policy: a leak, whatever its status says.

A gRPC client is told the same as status 200 with ``grpc-status: 7`` and the body as ``grpc-message`` (Envoy
source/common/http/utility.cc and grpc/status.cc; Cilium denies by Envoy's sendLocalReply: cilium/l7policy.cc). A path
with escaped slashes gets a redirect before any policy is asked; the probe follows it (``drills.probe.http``), and what
it led to is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from drills.inject.base import Attempt, Outcome, OutcomeKind, failure_name, series_config, void
from drills.playbook import Denied, HttpInjection

DENIED_BODY = "Access denied"  # Cilium 1.18 to 1.20: cilium-proxy, cilium_l7policy.cc (with a line's end)
UPSTREAM_HEADER = "x-envoy-upstream-service-time"
PROXY = "envoy"  # the server header that Envoy gives an answer of its own
REDIRECT = 307
ESCAPED_SLASHES = ("%2f", "%5c")
GRPC = "application/grpc"
GRPC_STATUS = {400: "13", 401: "16", 403: "7", 404: "12", 429: "14", 502: "14", 503: "14", 504: "14"}


def probe_config(name: str, injection: HttpInjection, *, scale: float, addresses: Sequence[str] = ()) -> dict[str, Any]:
    """The first line of the probe's input. ``addresses``: to spread over backends that somebody else resolved."""
    return series_config(name, injection, scale=scale, host=injection.host, addresses=addresses) | {
        "tls": injection.tls,
        "method": injection.method,
        "target": injection.target,
        "authority": injection.authority,
        "headers": dict(injection.headers),
        "body": injection.body,
    }


@dataclass(frozen=True, slots=True)
class HttpJudge:
    """Judges attempts by what the playbook expects. An empty ``denied`` means any denial that evidence will prove."""

    injection: HttpInjection
    denied: tuple[Denied, ...] = ()
    backends: bool = True  # whether a pod stands behind the address: then a refused connection came from it

    def attack(self, attempt: Attempt) -> Outcome:
        """Of an attempt that should be denied."""
        if (nothing := void(attempt, self.injection.timeout)) is not None:
            return nothing
        if attempt.status is not None:
            return self._answered(attempt)
        if attempt.error in ("not-http", "tls-alert"):
            return Outcome(OutcomeKind.LEAKED, attempt.error)
        if not attempt.connected:
            return self._not_connected(attempt)
        if self._expects_no_connection():
            return Outcome(OutcomeKind.LEAKED, "connected")
        reached = OutcomeKind.POSSIBLY_REACHED if attempt.sent else OutcomeKind.BROKEN
        return Outcome(reached, failure_name(attempt))

    def control(self, attempt: Attempt) -> Outcome:
        """Of an authorised attempt: the expected status, from a whole answer, or broken."""
        if (nothing := void(attempt, self.injection.timeout)) is not None:
            return nothing
        if attempt.error is not None or attempt.status is None:
            return Outcome(OutcomeKind.BROKEN, failure_name(attempt))
        as_expected = attempt.status == self.injection.status
        return Outcome(OutcomeKind.SUCCEEDED if as_expected else OutcomeKind.BROKEN, _status_name(attempt))

    def _answered(self, attempt: Attempt) -> Outcome:
        wanted = [denied for denied in self.denied if denied.status is not None]
        if not self.denied:
            wanted = [Denied(status=403)]
        for denied in wanted:
            if attempt.status == denied.status and made_by_policy(attempt, denied.body):
                return Outcome(OutcomeKind.DENIED, f"http-{attempt.status}")
            if denied_by_grpc(attempt, denied):
                return Outcome(OutcomeKind.DENIED, f"grpc-{attempt.headers['grpc-status']}")
        if redirected_by_proxy(self.injection, attempt):
            return Outcome(OutcomeKind.BROKEN, f"http-{attempt.status}-proxy")  # no policy was asked yet
        return Outcome(OutcomeKind.LEAKED, _status_name(attempt))

    def _not_connected(self, attempt: Attempt) -> Outcome:
        """Only the phase that ``denied`` names counts: a name that does not resolve denies nothing."""
        named = {denied.connect for denied in self.denied if denied.connect is not None}
        if not self.denied:
            named = {"timeout"}
        if attempt.phase == "connect" and attempt.error in named:
            return Outcome(OutcomeKind.DENIED, failure_name(attempt))
        if attempt.phase == "connect" and attempt.error == "refused" and "timeout" in named and self.backends:
            return Outcome(OutcomeKind.LEAKED, failure_name(attempt))  # the reset of a pod has passed the policy
        return Outcome(OutcomeKind.BROKEN, failure_name(attempt))

    def _expects_no_connection(self) -> bool:
        return bool(self.denied) and all(denied.connect is not None for denied in self.denied)


def made_by_policy(attempt: Attempt, body: str | None) -> bool:
    """Whether an answer is the policy's own: its body, and nobody upstream who was asked.

    ``body`` None means Cilium's. With Cilium's body a server header other than Envoy's gives another maker away.
    """
    return _says(attempt, attempt.body, body)


def denied_by_grpc(attempt: Attempt, denied: Denied) -> bool:
    """Whether an answer tells a gRPC client of the denial: Envoy's own, with the status and body translated."""
    headers = attempt.headers
    if attempt.status != 200 or not headers.get("content-type", "").startswith(GRPC):
        return False
    if headers.get("grpc-status") != GRPC_STATUS.get(denied.status or 0, "2"):
        return False
    return _says(attempt, unquote(headers.get("grpc-message", "")), denied.body)


def _says(attempt: Attempt, said: str, body: str | None) -> bool:
    if attempt.error is not None or UPSTREAM_HEADER in attempt.headers:
        return False
    if body is not None:
        return said.strip() == body.strip()
    return said.strip() == DENIED_BODY and attempt.headers.get("server", PROXY) == PROXY


def redirected_by_proxy(injection: HttpInjection, attempt: Attempt) -> bool:
    """Whether an answer is the proxy's own word on a path with escaped slashes, given before any policy was asked."""
    escaped = any(one in injection.target.lower() for one in ESCAPED_SLASHES)
    own = attempt.headers.get("server") == PROXY and UPSTREAM_HEADER not in attempt.headers
    return escaped and own and attempt.status == REDIRECT and attempt.error is None


def _status_name(attempt: Attempt) -> str:
    """``http-403`` is the policy's; the same status from anybody else is ``http-403-application``."""
    if attempt.status == 403 and not made_by_policy(attempt, None):
        return "http-403-application"
    return f"http-{attempt.status}"

"""Policy must be in force at both ends of an attack: what no policy can have denied, or is only watched, is a doubt."""

from __future__ import annotations

import pytest

from drills.engine.guarding import Guarded, guard

AUDITED = ["3 endpoints are in audit-both mode"]
NOBODY = "no policy guards backend/api (ingress is not enforced), nor what frontend/drill may reach"


@pytest.mark.parametrize(
    ("source", "backend", "audited", "doubt", "remark"),
    [
        ("none", "ingress", [], None, None),
        ("none", "both", [], None, None),
        ("egress", "both", [], None, None),
        # Nobody guards the target: then only what the source may reach explains a denial.
        ("egress", "none", [], None, "no policy guards backend/api (ingress is not enforced)"),
        ("both", "egress", [], None, "no policy guards backend/api (ingress is not enforced)"),
        ("none", "none", [], NOBODY, NOBODY),
        ("ingress", "egress", [], NOBODY, NOBODY),
        ("", "none", [], NOBODY, NOBODY),
        # Audit mode at either end.
        ("none", "audit-ingress", [], "backend/api is in audit mode (audit-ingress)", "backend/api is in audit mode"),
        ("egress", "audit-both", [], "backend/api is in audit mode (audit-both)", "backend/api is in audit mode"),
        ("audit-egress", "both", [], "frontend/drill is in audit mode", "frontend/drill is in audit mode"),
        # Audit mode elsewhere is said; it is a doubt only where an end does not say how it stands there.
        ("none", "both", AUDITED, None, AUDITED[0]),
        ("none", "", AUDITED, AUDITED[0], AUDITED[0]),
        ("", "both", AUDITED, AUDITED[0], AUDITED[0]),
        # An agent that cannot be asked, and a CiliumEndpoint that does not say: the evidence alone decides.
        ("", "", [], None, None),
        ("none", "", [], None, None),
    ],
)
def test_guard(source: str, backend: str, audited: list[str], doubt: str | None, remark: str | None) -> None:
    found = guard(Guarded("frontend/drill", source), [Guarded("backend/api", backend)], audited)
    for texts, expected in ((found.doubts, doubt), (found.remarks, remark)):
        assert len(texts) == (expected is not None)
        assert all(expected in text for text in texts if expected is not None)


def test_every_pod_behind_the_target_counts() -> None:
    backends = [Guarded("backend/one", "both"), Guarded("backend/two", "none")]
    (doubt,) = guard(Guarded("frontend/drill", "none"), backends, []).doubts
    assert "backend/two" in doubt


def test_a_target_outside_of_the_cluster_has_no_pods() -> None:
    assert guard(Guarded("frontend/drill", "egress"), [], []).doubts == ()
    assert guard(Guarded("frontend/drill", "audit-egress"), [], []).doubts != ()

"""What a drill tries, in words for a reader without the playbook."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.engine.told import plan
from drills.playbook import load

PLAYBOOKS = Path(__file__).parents[1] / "playbook"


@pytest.fixture(scope="module")
def plans() -> dict[str, dict[str, str]]:
    found = {}
    for name in ("zero-trust.yaml", "others.yaml"):
        playbook = load(PLAYBOOKS / name)
        found |= {drill.name: plan(drill, playbook) for drill in playbook.drills}
    return found


def test_the_attack_the_control_and_what_should_come_of_it(plans: dict[str, dict[str, str]]) -> None:
    assert plans["admin-path"] == {
        "attack": "GET http://http-api.backend/admin/config, 5/s for 3m, "
        "from frontend (a pod in namespace frontend with app=frontend)",
        "control": "GET http://http-api.backend/, 1/s for 3m, "
        "from frontend (a pod in namespace frontend with app=frontend)",
        "expected": "HTTP 403 from the policy",
    }


def test_every_kind_of_injection_has_words(plans: dict[str, dict[str, str]]) -> None:
    assert all(one["attack"] for one in plans.values())

"""The tests for a real API server, run against the lab's: what they ask of a cluster is asked here first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drills.lab import client
from drills.lab.client import LabRequest

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]


def test_the_suite_for_real_api_servers_passes_on_the_lab(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "DRILLS_LAB": f"kube-suite-{os.getpid()}"}
    with client.held(LabRequest(), environment=environment) as lab:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kube"],
            cwd=ROOT,
            env={**environment, "DRILLS_TEST_KUBECONFIG": str(lab.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout  # the lab serves every kind
    assert re.search(r"\d+ passed", done.stdout)

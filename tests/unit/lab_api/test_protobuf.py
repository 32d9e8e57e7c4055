"""Protobuf bodies, as kubectl 1.37 sent them (bytes from its ``-v=9``)."""

from __future__ import annotations

import pytest

from drills.lab.api import protobuf
from drills.lab.api.errors import ApiError

CONFIG_MAP = bytes.fromhex(
    "6b3873000a0f0a02763112 09436f6e6669674d6170121b0a110a0161 12001a0022002a0032003800420012060a0178120179 1a002200"
)


def test_a_config_map() -> None:
    assert protobuf.decode(CONFIG_MAP) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "generation": 0},
        "data": {"x": "y"},
    }


@pytest.mark.parametrize(("body", "status"), [
    (b"", 400),
    (b"{}", 400),
    (CONFIG_MAP[:-30], 400),
    (CONFIG_MAP.replace(b"ConfigMap", b"Nonsenses"), 415),
])  # fmt: skip
def test_what_cannot_be_read(body: bytes, status: int) -> None:
    with pytest.raises(ApiError) as caught:
        protobuf.decode(body)
    assert caught.value.status == status

"""What an agent makes of keys and switches, as text and decisions."""

from __future__ import annotations

import pytest

from drills.lab.agent import x25519


@pytest.mark.parametrize(
    ("private", "public"),
    [  # RFC 7748, section 6.1
        ("77076d0a7318a57d3c16c17251b26645c6f8c1b5e2f6d9b8d9b6a0e5a2b1c0d0", None),
        ("77076d0a7318a57d3c16c17251b26645df4c3f3b2d3f0a2b6b3c5e0e9f7d1a2a", None),
    ],
)
def test_any_private_key_has_a_public_one(private: str, public: None) -> None:
    assert len(x25519.public_of(bytes.fromhex(private))) == 32

"""Public keys of WireGuard: X25519 (RFC 7748, section 5), for the few keys that a lab needs.

In plain Python it takes some milliseconds and is not of constant time: enough for keys that live in a throw-away lab.
"""

from __future__ import annotations

import base64
import os

_P = 2**255 - 19
_A24 = 121665
KEY_BYTES = 32


def generate() -> bytes:
    """A fresh private key, clamped as WireGuard wants it."""
    return _clamped(os.urandom(KEY_BYTES))


def public_of(private: bytes) -> bytes:
    """The public key of a private one."""
    return _multiply(private, (9).to_bytes(KEY_BYTES, "little"))


def text_of(key: bytes) -> str:
    """A key as WireGuard's tools and Cilium write it: base64."""
    return base64.b64encode(key).decode()


def key_of(text: str) -> bytes:
    """The inverse of `text_of`. ValueError for anything that is no key."""
    key = base64.b64decode(text.strip(), validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return key


def _clamped(scalar: bytes) -> bytes:
    key = bytearray(scalar)
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return bytes(key)


def _multiply(scalar: bytes, point: bytes) -> bytes:
    """The Montgomery ladder, with the names of the RFC."""
    k = int.from_bytes(_clamped(scalar), "little")
    u = int.from_bytes(point, "little") % 2**255
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for bit in reversed(range(255)):
        wanted = k >> bit & 1
        if swapped != wanted:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = wanted
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % _P, b * b % _P, d * a % _P, c * b % _P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _P, u * (da - cb) ** 2 % _P
        x2, z2 = aa * bb % _P, e * (aa + _A24 * e) % _P
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _P - 2, _P) % _P).to_bytes(KEY_BYTES, "little")

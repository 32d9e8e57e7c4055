"""Requests in Kubernetes' protobuf encoding, read into documents.

kubectl 1.32 and later sends some typed requests (``create secret``, ``create token``, ``auth can-i``) as protobuf and
has no way back to JSON. Answers stay JSON, which every client takes. A kind that is not in `protobuf_fields` is
answered with 415 and the way round it.

A Go struct writes its empty texts and zero times too; they are dropped, since JSON would not have them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from drills.lab.api.errors import ApiError, bad_request
from drills.lab.api.protobuf_fields import MESSAGES, Fields
from drills.lab.api.types import Obj

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"  # k8s.io/apimachinery/pkg/runtime/serializer/protobuf
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode(body: bytes) -> Obj:
    """The document in a protobuf body. Raises ApiError 400 for what cannot be read, 415 for an unknown kind."""
    if not body.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix 'k8s\\x00'")
    try:
        envelope = _message(body[len(_MAGIC) :], MESSAGES["Envelope"], 0)
        raw = base64.b64decode(envelope.get("raw", ""))
        version, kind = envelope["typeMeta"]["apiVersion"], envelope["typeMeta"]["kind"]
        fields = MESSAGES.get(kind)
        if fields is None:
            way_round = "add --dry-run=client -o yaml, and pipe it to kubectl apply -f -"
            raise ApiError(415, "UnsupportedMediaType", f"the lab reads no {kind} from protobuf: {way_round}")
        return {"apiVersion": version, "kind": kind, **_message(raw, fields, 0)}
    except (KeyError, IndexError, ValueError, OverflowError) as error:
        raise bad_request(f"error decoding protobuf: {error}") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and what is on the wire for them."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("unexpected end of the message")
        yield number, data[at : at + size]
        at += size


def _message(data: bytes, fields: Fields, depth: int) -> Obj:
    if depth > _MAX_DEPTH:
        raise ValueError("the message is nested too deeply")
    found: Obj = {}
    for number, wire in _wire(data):
        if number not in fields:
            continue
        name, code = fields[number]
        if code.startswith("{}"):
            key, value = _entry(wire, code[2:], depth)
            found.setdefault(name, {})[key] = value
        elif code.startswith("[]"):
            found.setdefault(name, []).append(_value(wire, code[2:], depth))
        elif (value := _value(wire, code, depth)) is not None and value != "":
            found[name] = value
    return found


def _entry(wire: int | bytes, code: str, depth: int) -> tuple[str, Any]:
    pair = dict(_wire(_octets(wire)))
    key = _octets(pair.get(1, b"")).decode()
    return key, _value(pair.get(2, b""), code, depth)


def _octets(wire: int | bytes) -> bytes:
    if isinstance(wire, int):
        raise ValueError("a number where bytes are expected")  # noqa: TRY004 - malformed input, not a wrong argument
    return wire


def _value(wire: int | bytes, code: str, depth: int) -> Any:
    if code in ("integer", "boolean"):
        number = _signed(wire) if isinstance(wire, int) else 0
        return bool(number) if code == "boolean" else number
    data = _octets(wire)
    if code in _READERS:
        return _READERS[code](data)
    return _message(data, MESSAGES[code], depth + 1)


def _time(data: bytes) -> str | None:
    parts = dict(_wire(data))
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise ValueError("a time is no pair of numbers")  # noqa: TRY004 - malformed input, not a wrong argument
    if not seconds:
        return None
    moment = _EPOCH + timedelta(seconds=_signed(seconds), microseconds=nanos // 1000)
    return moment.isoformat(timespec="microseconds" if nanos else "seconds").replace("+00:00", "Z")


_READERS: dict[str, Callable[[bytes], Any]] = {
    "string": lambda data: data.decode(),
    "bytes": lambda data: base64.b64encode(data).decode(),
    "time": _time,
}

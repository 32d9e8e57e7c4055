"""Requests in Kubernetes' protobuf encoding, read into documents.

kubectl 1.32 and later sends typed requests (``create secret``, ``create token``, ``auth can-i``) as protobuf
and has no way back to JSON. Answers stay JSON, which every client takes. The field numbers
(protobuf.json) are derived from the .proto files of Kubernetes by tools/make_protobuf.py.

A Go struct writes its empty texts and zero times too; they are dropped, since JSON would not have them.
"""

from __future__ import annotations

import base64
import functools
import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

from drills.lab.api.errors import ApiError, bad_request
from drills.lab.api.types import Obj

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"  # k8s.io/apimachinery/pkg/runtime/serializer/protobuf
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Fields = dict[str, list[str]]


@functools.cache
def _messages() -> dict[str, Fields]:
    found: dict[str, Fields] = json.loads(files(__package__).joinpath("protobuf.json").read_text(encoding="utf-8"))
    return found


def decode(body: bytes) -> Obj:
    """The document in a protobuf body. Raises ApiError 400 for what cannot be read, 415 for an unknown kind."""
    if not body.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix 'k8s\\x00'")
    try:
        envelope = _message(body[len(_MAGIC) :], _ENVELOPE, 0)
        raw = base64.b64decode(envelope.get("raw", ""))
        version, kind = envelope["typeMeta"]["apiVersion"], envelope["typeMeta"]["kind"]
        fields = _messages().get(f"v1.{kind}")
        if fields is None:
            raise ApiError(415, "UnsupportedMediaType", f"the lab reads no {kind} from protobuf; send JSON")
        return {"apiVersion": version, "kind": kind, **_message(raw, fields, 0)}
    except (KeyError, IndexError, ValueError, OverflowError, struct.error) as error:
        raise bad_request(f"error decoding protobuf: {error}") from error


_ENVELOPE: Fields = {"1": ["typeMeta", "TypeMeta"], "2": ["raw", "bytes"]}
_TYPE_META: Fields = {"1": ["apiVersion", "string"], "2": ["kind", "string"]}


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


def _wire(data: bytes) -> Iterator[tuple[str, int | bytes]]:
    """Field numbers and what is on the wire for them."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = str(tag >> 3), tag & 7
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
        elif name == "+":
            found |= _value(wire, code, depth)
        elif (value := _value(wire, code, depth)) is not None and value != "":
            found[name] = value
    return found


def _entry(wire: int | bytes, code: str, depth: int) -> tuple[str, Any]:
    pair = dict(_wire(_octets(wire)))
    key = _octets(pair.get("1", b"")).decode()
    return key, _value(pair.get("2", b""), code, depth)


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
    fields = _TYPE_META if code == "TypeMeta" else _messages()[code]
    read = _message(data, fields, depth + 1)
    return read.get("items", []) if code == "v1.ExtraValue" else read


def _time(data: bytes) -> str | None:
    parts = dict(_wire(data))
    seconds, nanos = parts.get("1", 0), parts.get("2", 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise ValueError("a time is no pair of numbers")  # noqa: TRY004 - malformed input, not a wrong argument
    if not seconds:
        return None
    moment = _EPOCH + timedelta(seconds=_signed(seconds), microseconds=nanos // 1000)
    return moment.isoformat(timespec="microseconds" if nanos else "seconds").replace("+00:00", "Z")


def _int_or_string(data: bytes) -> int | str | None:
    parts = dict(_wire(data))
    if parts.get("1"):
        return _octets(parts.get("3", b"")).decode()
    number = parts.get("2", 0)
    return (_signed(number) if isinstance(number, int) else None) or None


def _quantity(data: bytes) -> str:
    return _octets(dict(_wire(data)).get("1", b"")).decode()


def _raw(data: bytes) -> Any:
    return json.loads(_octets(dict(_wire(data)).get("1", b"")) or b"null")


_READERS: dict[str, Callable[[bytes], Any]] = {
    "string": lambda data: data.decode(),
    "bytes": lambda data: base64.b64encode(data).decode(),
    "number": lambda data: struct.unpack("<d", data)[0],
    "time": _time,
    "int-or-string": _int_or_string,
    "quantity": _quantity,
    "raw": _raw,
}

"""The building blocks of the playbook's schema: what a name, a URL, a duration or a rate may look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from drills.units import DURATION_PATTERN, RATE_PATTERN, parse_rate, seconds

T = TypeVar("T")


class Model(BaseModel):
    """Immutable, strict (no text where a number belongs), without unknown keys; camelCase in the file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
    )


def problem(reason: str) -> PydanticCustomError:
    """A complaint whose text is the sentence that the user reads."""
    return PydanticCustomError("problem", "{reason}", {"reason": reason})


FROM_FILE = "file"  # the validation context of what a user wrote


def _unit(parse: Callable[[str], float], kind: str, example: str) -> BeforeValidator:
    """Reads text such as ``90s``. Plain numbers are for Python code alone: in a file they would have no unit."""

    def read(value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            if info.context == FROM_FILE:
                raise problem(f"must be a {kind} like {example}, not {value!r}")
            return value
        try:
            amount = parse(value)
        except ValueError as error:
            raise problem(str(error)) from error
        if amount <= 0:
            raise problem(f"a {kind} of {value} is nothing; it must be more than zero")
        return amount

    return BeforeValidator(read)


def _text_schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


def _http_url(url: str) -> str:
    """Accepts a URL that can be sent exactly as it is written; its path is never normalised."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise problem(f'"{url}" is not a URL: {error}') from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise problem(f'"{url}" is not a URL like http://http-api.backend/path')
    if parts.username is not None or parts.password is not None:
        raise problem("a URL carries no user name and no password here; send them as a header")
    if "#" in url:
        raise problem(f'"{url}": a fragment (#...) is never sent to a server')
    if port == 0 or not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise problem(f'"{url}" cannot be sent as it is; percent-encode spaces and other letters')
    return url


def _header_value(value: str) -> str:
    if not value.isprintable() or not value.isascii():
        raise problem("a header's value is printable ASCII in one line")
    return value


_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"  # RFC 1123, as Kubernetes has it
_SUBDOMAIN = "[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_LABEL_TEXT = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"

Seconds: TypeAlias = Annotated[
    float, _unit(seconds, "duration", "90s or 1m30s"), _text_schema(DURATION_PATTERN, "90s", "1m30s")
]
Rate: TypeAlias = Annotated[float, _unit(parse_rate, "rate", "5/s or 300/m"), _text_schema(RATE_PATTERN, "5/s")]
Many: TypeAlias = Annotated[tuple[T, ...], Field(strict=False)]  # a YAML list
Name: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_LABEL}$")]
ObjectName: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_SUBDOMAIN}$")]
NamespacedName: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_LABEL}/{_SUBDOMAIN}$")]
Host: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:.-]+$", max_length=253)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
Status: TypeAlias = Annotated[int, Field(ge=100, le=599)]
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Url: TypeAlias = Annotated[str, AfterValidator(_http_url)]
HeaderName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue: TypeAlias = Annotated[str, AfterValidator(_header_value)]
LabelKey: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^({_SUBDOMAIN}/)?{_LABEL_TEXT}$")]
LabelValue: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^({_LABEL_TEXT})?$")]

"""The file that says who asks Prometheus or Alertmanager, and whom to trust.

It is the one that promtool and amtool take with ``--http.config.file`` (Prometheus docs/configuration,
``http_config``), of which the part is read that has to do with credentials and certificates. No secret is ever a part
of an address, a text or an error; files of secrets are read again for every request, because they rotate.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from drills.errors import InputError, WorldError
from drills.reach import Headers, Reach


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Authorization(_Part):
    """A credential that goes behind a word: ``Bearer`` and a token."""

    type: str = "Bearer"
    credentials: SecretStr | None = None
    credentials_file: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("give one of credentials and credentials_file")
        return self


class BasicAuth(_Part):
    """A user's name and password."""

    username: str
    password: SecretStr | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("give one of password and password_file")
        return self


class TlsConfig(_Part):
    """Certificates, in PEM files."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self


class HttpConfig(_Part):
    """What an ``http_config`` file may say here."""

    authorization: Authorization | None = None
    basic_auth: BasicAuth | None = None
    tls_config: TlsConfig = Field(default_factory=TlsConfig)
    folder: Path = Field(default=Path(), exclude=True)  # what its paths are relative to

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.authorization is not None and self.basic_auth is not None:
            raise ValueError("give one of authorization and basic_auth")
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Of a file; InputError for one that is not there or says something else. Paths are relative to the file."""
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            if not isinstance(found, dict) or "folder" in found:
                raise InputError(f"{path} is no http_config file: {_KEYS}.")
            config = cls.model_validate({**found, "folder": path.parent})
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The http_config file {path} cannot be read: {error.__class__.__name__}.") from None
        except yaml.YAMLError:  # its text may quote a secret
            raise InputError(f"The http_config file {path} is not YAML.") from None
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{path}: {where + ': ' if where else ''}{first['msg']} ({_KEYS}).") from None
        for one in (config.tls_config.ca_file, config.tls_config.cert_file, config.tls_config.key_file):
            if one is not None and not config.path(one).is_file():
                raise InputError(f"{path} names {one}, which is not there.")
        config.headers()
        return config

    def path(self, given: Path) -> Path:
        """A path of the file, from here."""
        return self.folder / given

    def headers(self) -> Headers:
        """Who asks. WorldError where a file of a secret cannot be read."""
        if self.authorization is not None:
            one = self.authorization
            return {"Authorization": f"{one.type} {self._secret(one.credentials, one.credentials_file)}"}
        if self.basic_auth is not None:
            both = f"{self.basic_auth.username}:{self._secret(self.basic_auth.password, self.basic_auth.password_file)}"
            return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
        return {}

    def reach(self, url: str) -> Reach:
        """The way to an address with these credentials; InputError for one that carries some itself, or is none."""
        tls = self.tls_config
        files = [None if one is None else str(self.path(one)) for one in (tls.ca_file, tls.cert_file, tls.key_file)]
        return Reach(
            url=checked(url),
            name=checked(url),
            headers=self.headers,
            authority=files[0],
            certificate=None if files[1] is None or files[2] is None else (files[1], files[2]),
            server_name=tls.server_name,
        )

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return self == HttpConfig(folder=self.folder)

    def _secret(self, value: SecretStr | None, file: Path | None) -> str:
        if value is not None:
            return value.get_secret_value()
        assert file is not None
        try:
            return self.path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise WorldError(
                f"The file of credentials {self.path(file)} cannot be read: {type(error).__name__}."
            ) from None


_KEYS: Final = "it may have authorization, basic_auth and tls_config, as Prometheus's http_config has them"


def checked(url: str, *, service: bool = True) -> str:
    """A base URL as it is used; InputError for what is none. No password is repeated in the sentence.

    ``service``: whether a Service of a cluster could be named instead, by a caller who has looked for that already.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    del port
    if parts.username is not None or parts.password is not None:
        hint = ": put them into a file, as --help says" if service else "; they are not sent"
        raise InputError(
            f"The address of {host} carries credentials, which everybody can read in the list of processes{hint}."
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        forms = (
            "http://HOST:PORT, https://... or service:NAMESPACE/NAME:PORT"
            if service
            else "http://HOST:PORT or https://..."
        )
        raise InputError(f"{url} is no address: write {forms}.")
    return url.rstrip("/")

"""How the stand-ins of web servers and PostgreSQL are started: command, variables and configuration files.

Pure: everything a container will run with is decided here and can be read in a test.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/drills/bin"
ECHO_MODULE = "/usr/lib/nginx/modules/ngx_http_echo_module.so"


class LaunchError(Exception):
    """What the spec asks of a stand-in makes no sense; one sentence."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a container's spec says, with variables expanded."""

    command: Sequence[str] = ()  # empty: the image's own
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[str] = ()  # mount paths
    directory: str = "/run/drills/containers/main"  # the container's own directory as it sees it


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start in the sandbox."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # in the container's own directory
    listens: int | None = None  # it counts as started once it listens on this TCP port
    capable: bool = False  # keeps capabilities: it makes a user namespace of its own


@dataclass(frozen=True, slots=True)
class Program:
    """An image that is just a program of this machine, or a shell."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    python: bool = False  # the project's own Python comes first on PATH

    def launch(self, request: Request) -> Launch:
        """Entrypoint and command as Docker combines them with the spec's."""
        own = (*self.entrypoint, *(request.args or self.cmd))
        argv = (*request.command, *request.args) if request.command else own
        return Launch(argv, _python_environment() if self.python else {"PATH": SYSTEM_PATH})


@dataclass(frozen=True, slots=True)
class Web:
    """nginx in the place of a web server's image."""

    names: tuple[str, ...]  # how the real image's own program is called
    pages: str  # where the real image keeps its pages
    welcome: str
    config: str | None = None  # where the real image reads more configuration from

    def launch(self, request: Request) -> Launch:
        """The image's program is nginx with a configuration of its own; any other command runs as it is."""
        if _other_program(request, self.names):
            return Program().launch(request)
        whole = f"{self.config}/nginx.conf" if self.config else None
        if whole in request.mounts:
            return Launch(_nginx(str(whole), "daemon off; master_process off;"), {"PATH": SYSTEM_PATH})
        included = [path for path in request.mounts if self.config and path.startswith(f"{self.config}/conf.d")]
        server = "\n".join(f"  include {path}{'/*.conf' if path.endswith('conf.d') else ''};" for path in included)
        if not included:
            own_pages = self.pages in request.mounts
            root = self.pages if own_pages else f"{request.directory}/pages"
            server = f"  server {{ listen 80 default_server; root {root}; index index.html index.htm; }}"
        files = {"nginx.conf": _configuration(request.directory, server), "pages/index.html": self.welcome}
        argv = _nginx(f"{request.directory}/nginx.conf")
        return Launch(argv, {"PATH": SYSTEM_PATH}, files, None if included else 80)


@dataclass(frozen=True, slots=True)
class Whoami:
    """nginx in the place of traefik/whoami: every path and method gets 200 and sees its own request."""

    def launch(self, request: Request) -> Launch:
        """The port comes from WHOAMI_PORT_NUMBER or ``--port``, as in the real image."""
        if _other_program(request, ("whoami",)):
            return Program().launch(request)
        arguments = [*request.command[1:], *request.args]
        port = _port(_option(arguments, "port") or request.env.get("WHOAMI_PORT_NUMBER") or "80")
        answer = (
            'echo "Hostname: $hostname"; echo "IP: $server_addr"; echo "RemoteAddr: $remote_addr:$remote_port"; '
            "echo -n $echo_client_request_headers; echo;"
        )
        server = f"""  access_log off;
  merge_slashes off;
  client_max_body_size 0;
  server {{
    listen {port} default_server;
    error_page 405 = @whoami;
    location / {{ default_type text/plain; {answer} }}
    location @whoami {{ default_type text/plain; {answer} }}
  }}"""
        configuration = f"load_module {ECHO_MODULE};\n" + _configuration(request.directory, server)
        argv = _nginx(f"{request.directory}/nginx.conf")
        return Launch(argv, {"PATH": SYSTEM_PATH}, {"nginx.conf": configuration}, port)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A real PostgreSQL of this machine, whatever the tag says."""

    def launch(self, request: Request) -> Launch:
        """``postgres_main.py`` does what the image's entrypoint does.

        PostgreSQL refuses uid 0, hence the user namespace.
        """
        path = f"{postgres_programs()}:{SYSTEM_PATH}"
        if _other_program(request, ("postgres", "docker-entrypoint.sh")):
            return Program().launch(request)
        arguments = [*request.command[1:], *request.args]
        if arguments[:1] == ["postgres"]:
            arguments = arguments[1:]
        script = str(Path(__file__).with_name("postgres_main.py"))
        user = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
        env = {"PATH": path, "PGDATA": "/var/lib/postgresql/data", "LANG": "C.UTF-8"}
        return Launch((*user, sys.executable, "-I", "-S", script, *arguments), env, {}, 5432, capable=True)


@cache
def postgres_programs() -> str:
    """The directory with initdb and postgres: the newest of Debian's, else wherever initdb is on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[4].zfill(4))
    if found:
        return str(found[-1].parent)
    program = shutil.which("initdb")
    return str(Path(program).resolve().parent) if program else "/usr/lib/postgresql/bin"


@cache
def machine_paths() -> tuple[str, ...]:
    """What a pod sees of this machine beside the system's directories: this Python and the project's packages."""
    executable = Path(sys.executable).resolve()
    package = Path(__file__).resolve().parents[2]
    packages = [str(package), str(package.with_name("alerts"))]
    paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, str(executable.parents[1]), *packages]
    return tuple(dict.fromkeys(path for path in paths if path != "/" and not path.startswith("/usr/bin")))


def _python_environment() -> dict[str, str]:
    package = Path(__file__).resolve().parents[2]
    return {
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
    }


def _other_program(request: Request, names: Sequence[str]) -> bool:
    return bool(request.command) and Path(request.command[0]).name not in names


def _option(arguments: Sequence[str], name: str) -> str | None:
    """The value of ``--name value`` or ``-name=value``, as Go's flag package takes them."""
    for index, argument in enumerate(arguments):
        key, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and key == name:
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            return value if equals else following
    return None


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise LaunchError(f'"{text}" is no TCP port')
    return int(text)


def _nginx(configuration: str, extra: str | None = None) -> tuple[str, ...]:
    return ("nginx", "-e", "stderr", "-c", configuration, *(("-g", extra) if extra else ()))


def _configuration(directory: str, server: str) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "\n".join(f"  {kind}_temp_path {directory}/{kind};" for kind in kinds)
    return f"""user root root;
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /dev/stdout combined buffer=16k flush=1s;
  keepalive_requests 100000;
{places}
{server}
}}
"""

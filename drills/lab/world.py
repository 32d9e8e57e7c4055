"""The outside world: an nginx that answers on ports 80 and 443 of every outside address."""

from __future__ import annotations

from pathlib import Path

from drills.lab import plan, topology
from drills.lab.daemons import Daemons

DIRECTORY = plan.RUN / "world"
NAME = "world"

CONFIGURATION = """\
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  default_type text/plain;
  server {{
    listen 80 backlog=1024;
    listen 443 ssl backlog=1024;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location / {{ return 200 "outside: $host at $server_addr\\n"; }}
  }}
}}
"""


def configuration(directory: Path, certificate: Path, key: Path) -> str:
    """nginx's configuration; everything it writes stays in ``directory``."""
    return CONFIGURATION.format(directory=directory, certificate=certificate, key=key)


async def start(daemons: Daemons, certificate: Path, key: Path) -> None:
    """Start the outside world's server in its namespace."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    file = DIRECTORY / "nginx.conf"
    file.write_text(configuration(DIRECTORY, certificate, key))
    argv = ["nginx", "-c", str(file), "-p", str(DIRECTORY), "-e", "stderr"]
    await daemons.start(NAME, argv, netns=topology.WORLD)

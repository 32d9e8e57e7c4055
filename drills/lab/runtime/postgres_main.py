"""What the entrypoint of the postgres image does (docker-library/postgres, docker-entrypoint.sh), then PostgreSQL.

Runs as a script inside the container, hence imports nothing of ours. Durability is off: the data dies with the pod.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path("/docker-entrypoint-initdb.d")
SOCKETS = Path("/var/run/postgresql")
SETTINGS = {
    "listen_addresses": "*",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "jit": "off",
    "unix_socket_directories": str(SOCKETS),
    "password_encryption": "scram-sha-256",
}
NO_PASSWORD = """Error: Database is uninitialized and superuser password is not specified.
       You must specify POSTGRES_PASSWORD to a non-empty value for the
       superuser. For example, "-e POSTGRES_PASSWORD=password" on "docker run"."""  # noqa: S105  a message


def value(name: str, default: str = "") -> str:
    """A variable, or the contents of the file that NAME_FILE names."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text().rstrip("\n") if path else os.environ.get(name) or default


def main(arguments: list[str]) -> None:
    """Make the database cluster if there is none, then become the server."""
    data = Path(os.environ["PGDATA"])
    SOCKETS.mkdir(parents=True, exist_ok=True)
    if not (data / "PG_VERSION").exists():
        initialise(data)
    options = [option for key, text in SETTINGS.items() for option in ("-c", f"{key}={text}")]
    os.execvp("postgres", ["postgres", "-D", str(data), *options, *arguments])  # noqa: S606  no shell wanted


def initialise(data: Path) -> None:
    """initdb, access rules, the user's database and scripts."""
    user, password = value("POSTGRES_USER", "postgres"), value("POSTGRES_PASSWORD")
    database, method = value("POSTGRES_DB", user), os.environ.get("POSTGRES_HOST_AUTH_METHOD", "")
    if not password and method != "trust":
        sys.exit(NO_PASSWORD)
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    secret = Path("/tmp/initdb-password")  # noqa: S108  private to this pod
    secret.write_text((password or "unused") + "\n")
    extra = os.environ.get("POSTGRES_INITDB_ARGS", "").split()
    common = ["--no-sync", "--no-instructions", "--auth=trust", "--encoding=UTF8"]
    run("initdb", "-D", str(data), f"--username={user}", f"--pwfile={secret}", *common, *extra)
    secret.unlink()
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"\nhost all all all {method or 'scram-sha-256'}\n")
    if database != "postgres":
        quoted = database.replace('"', '""')
        run("postgres", "--single", "-F", "-j", "-D", str(data), "postgres", text=f'CREATE DATABASE "{quoted}";\n')
    if SCRIPTS.is_dir() and any(SCRIPTS.iterdir()):
        run_scripts(data, user, database)


def run_scripts(data: Path, user: str, database: str) -> None:
    """The user's scripts by name, against a server that listens on its socket only."""
    quiet = f"-F -c listen_addresses='' -c unix_socket_directories={SOCKETS}"
    log = "/tmp/initdb-server.log"  # noqa: S108  private to this pod; a server on our pipe would keep `run` waiting
    run("pg_ctl", "-D", str(data), "-o", quiet, "-l", log, "-w", "start")
    psql = ["psql", "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-h", str(SOCKETS), "-U", user, "-d", database]
    for script in sorted(SCRIPTS.iterdir()):
        if script.suffix == ".sql":
            run(*psql, "-f", str(script))
        elif script.suffix == ".sh":
            run("bash", str(script))
    run("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")


def run(*command: str, text: str | None = None) -> None:
    """One step; its failure ends the container with the step's own message."""
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stdout}")


if __name__ == "__main__":
    main(sys.argv[1:])

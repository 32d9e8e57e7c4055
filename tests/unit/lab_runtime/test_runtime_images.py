"""Stand-ins for images: which one, and what it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.errors import InputError
from drills.lab.runtime.images import Absent, Images, StandIn, UnknownImageError, repository_of
from drills.lab.runtime.standins import LaunchError, Postgres, Program, Request


def launch(image: str, **request: object) -> tuple[str, ...]:
    stand_in = Images().find(image)
    assert not isinstance(stand_in, Absent)
    return stand_in.launch(Request(**request)).argv  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"),
        ("nginx:1.27-alpine", "nginx"),
        ("docker.io/library/nginx@sha256:abc", "nginx"),
        ("public.ecr.aws/docker/library/postgres:16", "postgres"),
        ("traefik/whoami:v1.10", "traefik/whoami"),
        ("registry:5000/team/app:1", "registry:5000/team/app"),
        ("quay.io/cilium/cilium:v1.18.0@sha256:123", "quay.io/cilium/cilium"),
    ],
)
def test_repository(image: str, name: str) -> None:
    assert repository_of(image) == name


def test_any_tag_of_postgres_is_postgres() -> None:
    assert isinstance(Images().find("postgres:9.6"), Postgres)
    assert Images().find("postgres:16-alpine") == Images().find("docker.io/postgres")


def test_own_image_under_any_registry() -> None:
    assert launch("ghcr.io/somebody/drills:1", command=["python", "-m", "drills.probe"])[0] == "python"
    assert launch("drills", args=["--version"]) == ("drills", "--version")


@pytest.mark.parametrize("image", ["mysql", "example.com/nginx", "somebody/postgres:16", "drills-else"])
def test_unknown_images_name_the_known(image: str) -> None:
    with pytest.raises(UnknownImageError, match="traefik/whoami") as error:
        Images().find(image)
    assert error.value.reason == "ErrImagePull"
    assert image in str(error.value)


@pytest.mark.parametrize("image", ["", "UPPER", "a b", "-x", "nginx::1", "http://nginx"])
def test_names_that_are_none(image: str) -> None:
    with pytest.raises(UnknownImageError) as error:
        Images().find(image)
    assert error.value.reason == "InvalidImageName"


def test_command_and_args_combine_as_in_docker() -> None:
    program = Program(("curl",), ("--help",))
    assert program.launch(Request()).argv == ("curl", "--help")
    assert program.launch(Request(args=["-s", "x"])).argv == ("curl", "-s", "x")
    assert program.launch(Request(command=["sleep"], args=["9"])).argv == ("sleep", "9")


def port_of(**request: object) -> int | None:
    stand_in = Images().find("traefik/whoami")
    assert not isinstance(stand_in, Absent)
    made = stand_in.launch(Request(**request))  # type: ignore[arg-type]
    assert f"listen {made.listens} default_server" in made.files["nginx.conf"]
    return made.listens


def test_whoami_port() -> None:
    assert port_of() == 80
    assert port_of(env={"WHOAMI_PORT_NUMBER": "8080"}) == 8080
    assert port_of(env={"WHOAMI_PORT_NUMBER": "8080"}, args=["--port", "9000"]) == 9000
    assert port_of(args=["-port=9001"]) == 9001
    assert port_of(command=["/whoami", "--port", "9002"]) == 9002
    with pytest.raises(LaunchError, match="x1"):
        port_of(args=["--port=x1"])


def test_web_servers_take_their_own_command_for_their_own() -> None:
    own = launch("nginx")
    assert own[0] == "nginx"
    assert launch("nginx", command=["nginx", "-g", "daemon off;"]) == own
    assert launch("httpd", command=["httpd-foreground"]) == own
    assert launch("nginx", command=["sh", "-c", "x"]) == ("sh", "-c", "x")


def test_mounted_configuration_of_nginx_is_used() -> None:
    stand_in = Images().find("nginx")
    assert not isinstance(stand_in, Absent)
    made = stand_in.launch(Request(mounts=["/etc/nginx/conf.d"]))
    assert "include /etc/nginx/conf.d/*.conf;" in made.files["nginx.conf"]
    assert made.listens is None
    whole = stand_in.launch(Request(mounts=["/etc/nginx/nginx.conf"]))
    assert "/etc/nginx/nginx.conf" in whole.argv
    pages = stand_in.launch(Request(mounts=["/usr/share/nginx/html"]))
    assert "root /usr/share/nginx/html;" in pages.files["nginx.conf"]
    assert "conf.d" not in pages.files["nginx.conf"]  # the machine's own is nobody's business


def test_postgres_keeps_its_arguments() -> None:
    made = Postgres().launch(Request(args=["postgres", "-c", "max_connections=7"]))
    assert made.argv[-2:] == ("-c", "max_connections=7")
    assert made.argv[0] == "unshare"
    assert made.listens == 5432
    assert made.capable


def extended(tmp_path: Path, text: str) -> Images:
    path = tmp_path / "images.yaml"
    path.write_text(text)
    return Images.parse(path.read_text(), path)


def test_table_can_be_extended(tmp_path: Path) -> None:
    images = extended(
        tmp_path,
        """
        - {image: corp.example/api, like: traefik/whoami}
        - {image: corp.example/tool:3, entrypoint: [sleep], cmd: [infinity]}
        """,
    )
    stand_in: StandIn | Absent = images.find("corp.example/api:7")
    assert stand_in == Images().find("traefik/whoami")
    tool = images.find("corp.example/tool")
    assert not isinstance(tool, Absent)
    assert tool.launch(Request()).argv == ("sleep", "infinity")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: b", "must be a list"),
        ("- {like: nginx}", "needs an image name"),
        ("- {image: a, like: nobody}", "no stand-in called nobody"),
        ("- {image: a, liek: nginx}", "unknown key liek"),
        ("- {image: A, like: nginx}", "couldn't parse image name"),
        ("- {image: a, cmd: sleep}", "must be a list of words"),
        ("- [", "cannot be read"),
    ],
)
def test_wrong_table_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        extended(tmp_path, text)

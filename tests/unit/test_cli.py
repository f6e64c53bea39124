"""The command line without a service: what it prints and finds, what it says when something is missing."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from bakehouse.cli.instance import find_private_key, what_is_new
from bakehouse.cli.main import app
from bakehouse.cli.ssh_client import ssh_arguments
from bakehouse.host.endpoint import (
    AdministratorKey,
    Endpoint,
    find_endpoint,
    write_administrator_key,
    write_endpoint,
)
from bakehouse.paths import StateDirectory
from bakehouse.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(root=tmp_path)


def announce(state: StateDirectory, *, pid: int | None = None) -> Endpoint:
    endpoint = Endpoint.of_process(pid or os.getpid(), url="http://127.0.0.1:4566", regions=("eu-north-1", "eu-west-1"))
    write_endpoint(state, endpoint)
    key = AdministratorKey(account_id="123456789012", access_key_id="AKIDX", secret_access_key="a b'c")
    write_administrator_key(state, key)
    return endpoint


def test_env_prints_the_exports_quoted_for_the_shell(state: StateDirectory) -> None:
    announce(state)
    result = CliRunner().invoke(app, ["--state", str(state.root), "env"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "export AWS_ENDPOINT_URL=http://127.0.0.1:4566",
        "export AWS_ACCESS_KEY_ID=AKIDX",
        """export AWS_SECRET_ACCESS_KEY='a b'"'"'c'""",
        "export AWS_REGION=eu-north-1",
        "export AWS_DEFAULT_REGION=eu-north-1",
    ]


def test_env_names_another_region_if_the_service_has_it(state: StateDirectory) -> None:
    announce(state)
    result = CliRunner().invoke(app, ["--state", str(state.root), "env", "--region", "eu-west-1"])
    assert "export AWS_DEFAULT_REGION=eu-west-1" in result.stdout.splitlines()
    result = CliRunner().invoke(app, ["--state", str(state.root), "env", "--region", "mars-north-1"])
    assert result.exit_code == 1
    assert "eu-north-1, eu-west-1" in result.stderr


def test_env_without_a_service_says_how_to_start_it(state: StateDirectory) -> None:
    result = CliRunner().invoke(app, ["--state", str(state.root), "env"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "bakehouse serve" in result.stderr


def test_a_service_whose_pid_was_used_again_is_absent(state: StateDirectory) -> None:
    endpoint = announce(state)
    assert find_endpoint(state) == endpoint
    other = Endpoint(url=endpoint.url, regions=endpoint.regions, pid=endpoint.pid, started=endpoint.started - 1)
    write_endpoint(state, other)
    assert find_endpoint(state) is None


def test_the_administrators_key_is_readable_for_its_owner_only(state: StateDirectory) -> None:
    announce(state)
    assert state.credentials.stat().st_mode & 0o777 == 0o600


def test_an_unreadable_setting_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_LISTEN_PORT", "http")
    result = CliRunner().invoke(app, ["env"])
    assert result.exit_code == 1
    assert "BAKEHOUSE_LISTEN_PORT" in result.stderr


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    documented = set(re.findall(r"^\| `BAKEHOUSE_(\w+)`", (ROOT / "docs/settings.md").read_text(), re.M))
    assert documented == {field.name.upper() for field in fields(Settings)}


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    listed, in_checkout = (ROOT / "docs/cli.md").read_text().split("## In a checkout only")
    documented = {tuple(words.split()) for words in re.findall(r"^\| `([a-z]+(?: [a-z]+)?)", listed, re.M)}
    command = typer.main.get_command(app)
    existing: set[tuple[str, ...]] = set()
    for name, found in command.commands.items():  # type: ignore[attr-defined]
        nested = getattr(found, "commands", None)
        existing |= {(name, verb) for verb in nested} if nested else {(name,)}
    assert documented == existing
    launcher = (ROOT / "bakehouse").read_text()
    verbs = set(re.findall(r"^    ([a-z]+)\)$", launcher, re.M))
    assert set(re.findall(r"^\| `([a-z]+)", in_checkout, re.M)) == verbs


@pytest.mark.parametrize(
    ("seen", "text", "new"),
    [
        ("", "abc", "abc"),
        ("abc", "abc", ""),
        ("abc", "abcdef", "def"),
        ("abc" * 500, "bc" + "abc" * 499 + "def", "def"),
    ],
    ids=["first", "unchanged", "grown", "window-moved"],
)
def test_following_a_log_prints_only_what_is_new(seen: str, text: str, new: str) -> None:
    assert what_is_new(seen, text) == new


def test_ssh_remembers_a_host_key_by_the_instance_not_by_its_address(state: StateDirectory) -> None:
    words = ssh_arguments(state, instance_id="i-1", address="127.66.0.9", user="admin", key=Path("/k.pem"))
    assert words[-1] == "admin@127.66.0.9"
    assert "HostKeyAlias=i-1" in words
    assert f"UserKnownHostsFile={state.known_hosts}" in words
    assert words[words.index("-i") + 1] == "/k.pem"


def test_the_private_key_is_found_by_its_key_pairs_name(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(state.root / "home"))
    monkeypatch.chdir(state.root)
    settings = Settings(state_root=state.root)
    assert find_private_key(settings, "mine") is None
    assert find_private_key(settings, "../mine") is None
    Path("mine.pem").touch()
    assert find_private_key(settings, "mine") == Path("mine.pem")
    state.client.mkdir()
    state.private_key("mine").touch()
    assert find_private_key(settings, "mine") == state.private_key("mine")


@pytest.mark.programs
def test_the_help_loads_neither_the_service_nor_any_client() -> None:
    program = "import sys; import bakehouse.cli.main; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "bakehouse.cli.demo.command" in loaded
    assert not loaded & {"bakehouse.main", "bakehouse.api", "boto3", "botocore", "sqlalchemy", "dbos"}

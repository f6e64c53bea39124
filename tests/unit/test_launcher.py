"""The launcher and the pins: in a copy of the checkout; programs that would change the host are replaced."""

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakehouse.guest.base_image.recipe import DEBIAN_PACKAGES, DEBIAN_PACKAGES_WITHOUT_ROOT
from bakehouse.host.diagnosis import NEEDS, ROOTLESS_NEEDS

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"

# What the launcher calls to change something. Each writes its words into the journal.
PROGRAMS = {
    "bin/id": 'echo "$FAKE_UID"',
    "bin/dpkg-query": 'shift 2; for p; do [ "$p" = "$FAKE_MISSING" ] || echo "installed $p"; done',
    "bin/apt-get": 'echo "apt-get $*" >>"$JOURNAL"',
    "bin/npm": 'echo "npm $1 in ${PWD#"$CHECKOUT/"}" >>"$JOURNAL"',
    "build/uv/bin/pip": '[ "$1" = config ] || echo pip >>"$JOURNAL"',
    "build/uv/bin/uv": """
shift  # --no-progress
echo "uv $1 $2" >>"$JOURNAL"
case "$1 $2" in
venv*) mkdir -p "$CHECKOUT/.venv/bin"; ln -sf /usr/bin/python3 "$CHECKOUT/.venv/bin/python3" ;;
"pip install") printf '#!/bin/sh\\necho "the command: $*"\\n' >"$CHECKOUT/.venv/bin/bakehouse"
    chmod +x "$CHECKOUT/.venv/bin/bakehouse" ;;
esac
[ "$2" != "$FAKE_FAILURE" ] || { echo "no such wheel"; exit 1; }
""",
}


@dataclass(frozen=True, kw_only=True)
class Checkout:
    root: Path

    def run(self, *words: str, uid: int = 0, missing: str = "", failure: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "JOURNAL": str(self.root / "journal"),
            "CHECKOUT": str(self.root),
            "FAKE_UID": str(uid),
            "FAKE_MISSING": missing,
            "FAKE_FAILURE": failure,
        }
        return subprocess.run(
            [self.root / "bakehouse", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def take_journal(self) -> list[str]:
        journal = self.root / "journal"
        lines = journal.read_text().splitlines() if journal.exists() else []
        journal.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a checkout"  # with a space: people have such directories
    root.mkdir()
    for name in ("bakehouse", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(REQUIREMENTS, root / "requirements")
    shutil.copytree(ROOT / "tests/clients/javascript", root / "tests/clients/javascript")
    for name, body in PROGRAMS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    return Checkout(root=root)


pytestmark = pytest.mark.programs


def test_the_first_run_sets_up_and_hands_over_and_the_second_only_hands_over(checkout: Checkout) -> None:
    first = checkout.run("serve", "--port", "1")
    assert first.stdout == "the command: serve --port 1\n", first.stderr
    assert checkout.take_journal() == ["pip", "uv venv --clear", "uv pip sync", "uv pip install"]
    second = checkout.run("env")
    assert second.stdout == "the command: env\n"
    assert second.stderr == ""
    assert checkout.take_journal() == []


def test_a_changed_pin_renews_the_environment(checkout: Checkout) -> None:
    checkout.run("env")
    checkout.take_journal()
    with (checkout.root / "requirements/runtime.txt").open("a") as file:
        file.write("# changed\n")
    checkout.run("env")
    assert checkout.take_journal() == ["pip", "uv pip sync", "uv pip install"]


def test_root_gets_missing_packages_installed_after_an_update(checkout: Checkout) -> None:
    result = checkout.run("env", uid=0, missing="slirp4netns")
    assert result.returncode == 0, result.stderr
    update, install = [line for line in checkout.take_journal() if line.startswith("apt-get")]
    assert update.endswith(" update")
    assert install.endswith(" install --no-install-recommends -y slirp4netns")


def test_only_the_tests_ask_for_the_packages_of_tests(checkout: Checkout) -> None:
    for package in _packages("debian-test"):
        assert checkout.run("env", uid=1000, missing=package).returncode == 0
        result = checkout.run("test", uid=1000, missing=package)
        assert result.returncode == 1
        assert f"missing: {package}\n" in result.stderr


@pytest.mark.parametrize("selection", [(), ("-q",), ("tests/unit", "tests/clients/test_javascript.py"), ("tests",)])
def test_the_tests_of_clients_bring_their_clients_once(checkout: Checkout, selection: tuple[str, ...]) -> None:
    checkout.run("test", *selection)
    assert checkout.take_journal()[-4:] == [
        "pip",
        "uv venv --clear",
        "uv pip sync",
        "npm ci in build/clients/javascript",
    ]
    checkout.run("test", *selection)
    assert checkout.take_journal() == []


@pytest.mark.parametrize("words", [("test", "tests/unit", "-k", "x"), ("bench",), ("env",)])
def test_nothing_else_brings_clients(checkout: Checkout, words: tuple[str, ...]) -> None:
    checkout.run(*words)
    assert not [line for line in checkout.take_journal() if line.startswith("npm")]


def test_clients_that_cannot_be_installed_are_told_and_tried_again(checkout: Checkout) -> None:
    npm = checkout.root / "bin/npm"
    working = npm.read_text()
    npm.write_text("#!/bin/sh\necho no such package; exit 1\n")
    failed = checkout.run("test")
    assert failed.returncode == 1
    assert "no such package" in failed.stderr
    npm.write_text(working)
    checkout.run("test")
    assert checkout.take_journal()[-1].startswith("npm ci")


def test_others_are_told_exactly_what_is_missing(checkout: Checkout) -> None:
    result = checkout.run("env", uid=1000, missing="slirp4netns")
    assert result.returncode == 1
    assert "missing: slirp4netns\n" in result.stderr
    assert "sudo apt-get" in result.stderr
    assert checkout.take_journal() == []


def test_a_step_that_fails_shows_its_output_and_leaves_no_stamp(checkout: Checkout) -> None:
    failed = checkout.run("env", failure="sync")
    assert failed.returncode == 1
    assert "no such wheel" in failed.stderr
    assert checkout.run("env").returncode == 0


def test_a_second_launcher_started_meanwhile_waits_and_finds_the_work_done(checkout: Checkout) -> None:

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: checkout.run("env"), range(3)))
    assert {result.stdout for result in results} == {"the command: env\n"}
    assert checkout.take_journal().count("uv pip sync") == 1


@pytest.mark.parametrize("name", ["setup", "build", "runtime", "dev", "clients"])
def test_pins_are_exact_hashed_and_name_no_registry_and_no_machine(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    assert "://" not in text
    assert not re.search(r"(^|\s)/\w", text)
    assert not re.search(r"^-", text, re.MULTILINE)
    for block in re.split(r"\n(?=\S)", text):
        if not block.startswith("#"):
            assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+ ;", block), block[:60]
            assert "--hash=sha256:" in block, block[:60]


def test_pins_of_javascript_are_hashed_and_name_no_registry() -> None:
    lock = json.loads((ROOT / "tests/clients/javascript/package-lock.json").read_text())
    installed = {name: package for name, package in lock["packages"].items() if name}
    assert installed
    assert all(set(package) >= {"version", "integrity"} for package in installed.values())
    assert not [name for name, package in installed.items() if "resolved" in package]


def test_the_tests_run_with_the_very_versions_the_service_runs_with() -> None:
    runtime, dev = (_versions(name) for name in ("runtime", "dev"))
    assert runtime.items() <= dev.items()


def test_every_package_a_part_needs_is_one_the_launcher_installs() -> None:
    needed = {need.package for need in NEEDS} | set(DEBIAN_PACKAGES)
    assert needed <= _packages("debian")
    rootless = {need.package for need in ROOTLESS_NEEDS} | set(DEBIAN_PACKAGES_WITHOUT_ROOT)
    assert rootless == _packages("debian-rootless")


def _versions(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (REQUIREMENTS / f"{name}.txt").read_text(), re.MULTILINE))


def _packages(name: str) -> set[str]:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return {line.split("#")[0].strip() for line in text.splitlines()} - {""}

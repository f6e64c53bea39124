"""Pages of docs/clients, run as they stand: their files are written, their scripts run in the order they come."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.framework.service import Service

ROOT = Path(__file__).parents[2]
# The clients that the launcher installs for the tests only.
CLIENTS = ROOT / "build/clients"
_BLOCK = re.compile(r"^(?:`([\w.-]+)`:\n)?```(\w+)\n(.*?)^```$", re.M | re.S)
_TIMEOUT_S = 600


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page's code: ``files`` by the name that stands above their block, the rest by language."""

    files: Mapping[str, str]
    blocks: Mapping[str, str]


def read_page(name: str) -> Page:
    """Read docs/clients/NAME.md."""
    files: dict[str, str] = {}
    blocks: dict[str, str] = {}
    for title, language, code in _BLOCK.findall((ROOT / f"docs/clients/{name}.md").read_text()):
        if title:
            files[title] = code
        else:
            blocks[language] = blocks.get(language, "") + code
    return Page(files=files, blocks=blocks)


def write_files(page: Page, directory: Path) -> None:
    """Write the page's files where its scripts will run."""
    for name, code in page.files.items():
        (directory / name).write_text(code)


def variables_for(service: Service, home: Path) -> dict[str, str]:
    """What a user's shell has after ``eval "$(bakehouse env)"``, with the clients on its PATH."""
    programs = home / "bin"
    programs.mkdir(exist_ok=True)
    command = programs / "bakehouse"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m bakehouse.cli "$@"\n')
    command.chmod(0o755)
    paths = [str(programs), str(Path(sys.executable).parent), str(CLIENTS / "venv/bin"), os.environ["PATH"]]
    kept = {
        name: value for name, value in service.environment.items() if not name.startswith(("AWS_", "XDG_", "ANSIBLE_"))
    }
    printed = service.run_cli("env").splitlines()
    exports = dict(line.removeprefix("export ").split("=", 1) for line in printed)
    return {
        **kept,
        **{name: value.strip("'") for name, value in exports.items()},
        "PATH": ":".join(paths),
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }


def run(words: list[str], *, at: Path, variables: Mapping[str, str], timeout_s: float = _TIMEOUT_S) -> str:
    """Run a program to its end; what it printed on both streams. Fails when it does."""
    done = subprocess.run(
        words,
        cwd=at,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout[-8000:]}"
    return done.stdout


def run_shell(page: Page, *, at: Path, variables: Mapping[str, str], timeout_s: float = _TIMEOUT_S) -> str:
    """Run all of the page's shell code as one script."""
    return run(["sh", "-euc", page.blocks["sh"]], at=at, variables=variables, timeout_s=timeout_s)


def require(program: str) -> None:
    """Fail, and say what to do, when a client has not been installed."""
    found = shutil.which(program, path=f"{CLIENTS / 'venv/bin'}:{os.environ['PATH']}")
    assert found, f"{program} is not installed: run the tests with ./bakehouse test"

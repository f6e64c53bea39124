"""What every file must pass. Tests, so that one closing line speaks for everything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTERS = {
    "ruff": ["ruff", "check", "."],
    "mypy": ["mypy"],
    "imports": ["lint-imports"],
}

pytestmark = pytest.mark.programs


@pytest.mark.parametrize("name", LINTERS)
def test_every_file_passes(name: str) -> None:
    program, *words = LINTERS[name]
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


def test_every_directory_of_tests_has_its_place_in_the_order() -> None:
    from tests.framework.order import ORDER

    directories = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert directories <= set(ORDER)

"""What the documents name is there: links, commands, files, functions, numbers of decisions."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

from bakehouse.cli.main import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
_OF_A_CHECKOUT = {"test", "bench", "lock", "compatibility"}
_TWO_PAGES = 100


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_exists(document: Path) -> None:
    verbs = set(re.findall(r"(?:^|[`$(\s])(?:\./)?bakehouse ([a-z]+)\b", "\n".join(code_of(document.read_text()))))
    commands = getattr(get_command(app), "commands", {})
    assert verbs <= set(commands) | _OF_A_CHECKOUT


def code_of(text: str) -> list[str]:
    """Code blocks and inline code."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return [*blocks, *re.findall(r"`(\.?/?bakehouse [^`\n]+)`", text)]


def test_the_architecture_names_files_and_functions_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    source = ROOT / "src/bakehouse"
    for path, function in re.findall(r"`([a-z_/]+\.py)(?:: (\w+))?`", text):
        assert (source / path).exists(), path
        if function:
            tree = ast.parse((source / path).read_text())
            assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for folder in re.findall(r"^\| `(\w+)/` \|", text, re.M):
        assert (source / folder / "__init__.py").exists(), folder
    assert len(text.splitlines()) <= _TWO_PAGES


def test_no_two_decisions_have_one_number() -> None:
    files = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in files]
    assert len(numbers) == len(set(numbers))
    for path, number in zip(files, numbers, strict=True):
        assert path.read_text().startswith(f"# {number}. "), path.name

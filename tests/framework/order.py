"""The order tests run in: what is quick and points at the cause first, what boots machines last."""

import pytest

ORDER = ("linters", "unit", "contract", "conformance", "api", "workflows", "machine", "clients")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by directory; within one, the order stays as it was."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    parts = item.path.parts
    directory = parts[len(parts) - 1 - parts[::-1].index("tests") + 1]
    return ORDER.index(directory) if directory in ORDER else len(ORDER)

"""The order tests run in: what is quick and points at the cause first, what boots machines last. And the lanes that a
whole run has two of (docs/decisions/0054-two-lanes.md): tests that boot Debian run beside all the others."""

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it has hints, and does not say so

ORDER = ("linters", "unit", "contract", "conformance", "api", "workflows", "machine", "clients")
_WITH_MACHINES = ("tests/machine/", "tests/clients/")


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """Two scopes, so that what the tests of one share is made once, and no test meets another of its own lane."""

    def _split_scope(self, nodeid: str) -> str:
        return "machines" if nodeid.startswith(_WITH_MACHINES) else "others"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> Lanes:
    """Called once by a run of several processes."""
    return Lanes(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by directory; within one, the order stays as it was."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    parts = item.path.parts
    directory = parts[len(parts) - 1 - parts[::-1].index("tests") + 1]
    return ORDER.index(directory) if directory in ORDER else len(ORDER)

"""What stands before every operation: whose the service's files are, where it says it is, and whom it believes."""

import stat
from collections.abc import Iterator
from pathlib import Path

from tests.framework.belongings import Belongings
from tests.framework.service import Service

_OTHERS_READ_OR_WRITE, _OTHERS_PASS = 0o066, 0o011


def _in_reach_of_others(directory: Path) -> Iterator[tuple[Path, int]]:
    if not directory.stat().st_mode & _OTHERS_PASS:
        return
    for path in directory.iterdir():
        mode = path.lstat().st_mode
        yield path, mode
        if stat.S_ISDIR(mode):
            yield from _in_reach_of_others(path)


def test_nothing_of_the_state_directory_is_readable_by_others(service: Service, belongings: Belongings) -> None:
    assert belongings
    seen = list(_in_reach_of_others(service.state_root))
    assert {"bakehouse.db", "bakehouse.db-wal", "instances", "lock"} <= {path.name for path, _ in seen}
    readable = [(path, stat.filemode(mode)) for path, mode in seen if mode & _OTHERS_READ_OR_WRITE]
    assert readable == []

"""A raw disk image in a file, as a source for ingest: holes are skipped, not read."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from bakehouse.storage.errors import SourceError
from bakehouse.storage.extents import Extent


class RawFile:
    """An open raw image; a context manager. The file must not change meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from error
        self._size_bytes = os.fstat(self._descriptor).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    @property
    def size_bytes(self) -> int:
        """The file's length."""
        return self._size_bytes

    def extents(self) -> Iterator[Extent]:
        """Data and holes as the file system knows them; all data where it knows none."""
        offset = 0
        while offset < self._size_bytes:
            data_at = self._seek(offset, os.SEEK_DATA)
            if data_at > offset:
                yield Extent(length=data_at - offset, is_zero=True)
            if data_at < self._size_bytes:
                hole_at = self._seek(data_at, os.SEEK_HOLE)
                yield Extent(length=hole_at - data_at)
                data_at = hole_at
            offset = data_at

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``offset``; SourceError when the file ends before."""
        filled = 0
        while filled < len(buffer):
            try:
                count = os.preadv(self._descriptor, [buffer[filled:]], offset + filled)
            except OSError as error:
                raise SourceError(f"{self._path}: {error.strerror} at byte {offset + filled}") from error
            if count == 0:
                raise SourceError(f"{self._path}: ends at byte {offset + filled}; it was cut while being read")
            filled += count

    def _seek(self, offset: int, whence: int) -> int:
        """The next data or hole at or after ``offset``, at most the file's end."""
        try:
            return min(os.lseek(self._descriptor, offset, whence), self._size_bytes)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                return self._size_bytes
            if error.errno == errno.EINVAL:  # the file system cannot tell
                return offset if whence == os.SEEK_DATA else self._size_bytes
            raise SourceError(f"{self._path}: {error.strerror}") from error

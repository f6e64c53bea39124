"""Move bytes between two connected sockets in the kernel, with splice(2) through a pipe.

Invariant: an idle connection holds its two sockets only: a pipe is borrowed while bytes are in flight. An end
of stream is passed on (half-closed connections work); an error on either side resets both.
"""

import asyncio
import fcntl
import os
import socket
import struct
from contextlib import suppress

_PIPE_BYTES = 256 * 1024
_SET_PIPE_SIZE = 1031
_POOLED_PIPES = 64
_ROUNDS_PER_TURN = 8
_FLAGS = 1 | 2  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK
_RESET = struct.pack("ii", 1, 0)

_pipes: list[tuple[int, int]] = []


async def join_sockets(near: socket.socket, far: socket.socket) -> None:
    """Copy both ways until both directions ended; closes neither. Cancelling stops at once."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    halves = _Half(loop, near, far, done), _Half(loop, far, near, done)
    for half, other in zip(halves, reversed(halves), strict=True):
        half.other = other
    try:
        for half in halves:
            half.pump()
        await done
    except OSError:
        reset(near)
        reset(far)
    finally:
        for half in halves:
            half.stop()


def reset(connection: socket.socket) -> None:
    """Make the coming close a reset, so that the peer learns of the failure at once."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class _Half:
    """One direction."""

    other: "_Half"

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        target: socket.socket,
        done: "asyncio.Future[None]",
    ) -> None:
        self._loop, self._source, self._target, self._done = loop, source, target, done
        self._pipe: tuple[int, int] | None = None
        self._in_flight = 0
        self._is_reading = self._is_writing = self._is_at_end = False
        self.is_over = False

    def pump(self) -> None:
        """Move what can be moved now, then wait for the side that holds us up."""
        try:
            for _ in range(_ROUNDS_PER_TURN):
                is_dry = not self._fill()
                if not self._drain():
                    self._wait(reading=False, writing=True)
                    return
                if self._is_at_end:
                    self._finish()
                    return
                if is_dry:
                    break
            self._wait(reading=True, writing=False)
        except OSError as error:
            self._wait(reading=False, writing=False)
            if not self._done.done():
                self._done.set_exception(error)

    def stop(self) -> None:
        """Leave the loop and give the pipe back; one that holds bytes is closed."""
        self.is_over = True
        self._wait(reading=False, writing=False)
        if self._pipe is not None:
            _return_pipe(self._pipe, is_empty=not self._in_flight)
            self._pipe = None

    def _fill(self) -> bool:
        """Read from the source; False when it has nothing for us now."""
        if self._is_at_end or self._in_flight:
            return False
        if self._pipe is None:
            self._pipe = _borrow_pipe()
        try:
            moved = os.splice(self._source.fileno(), self._pipe[1], _PIPE_BYTES, flags=_FLAGS)
        except BlockingIOError:
            return False
        self._is_at_end = moved == 0
        self._in_flight += moved
        return True

    def _drain(self) -> bool:
        """Write to the target; False when it takes no more now."""
        while self._in_flight and self._pipe is not None:
            try:
                moved = os.splice(self._pipe[0], self._target.fileno(), self._in_flight, flags=_FLAGS)
            except BlockingIOError:
                return False
            self._in_flight -= moved
        if self._pipe is not None:
            _return_pipe(self._pipe, is_empty=True)
            self._pipe = None
        return True

    def _finish(self) -> None:
        self.stop()
        with suppress(OSError):
            self._target.shutdown(socket.SHUT_WR)
        if self.other.is_over and not self._done.done():
            self._done.set_result(None)

    def _wait(self, *, reading: bool, writing: bool) -> None:
        if reading != self._is_reading:
            if reading:
                self._loop.add_reader(self._source, self.pump)
            else:
                self._loop.remove_reader(self._source)
        if writing != self._is_writing:
            if writing:
                self._loop.add_writer(self._target, self.pump)
            else:
                self._loop.remove_writer(self._target)
        self._is_reading, self._is_writing = reading, writing


def _borrow_pipe() -> tuple[int, int]:
    if _pipes:
        return _pipes.pop()
    pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    with suppress(OSError):  # past the user's pipe quota the default size must do
        fcntl.fcntl(pipe[1], _SET_PIPE_SIZE, _PIPE_BYTES)
    return pipe


def _return_pipe(pipe: tuple[int, int], *, is_empty: bool) -> None:
    if is_empty and len(_pipes) < _POOLED_PIPES:
        _pipes.append(pipe)
        return
    os.close(pipe[0])
    os.close(pipe[1])

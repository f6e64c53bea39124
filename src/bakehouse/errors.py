"""The errors.

    Exception
      ApiError            a reply to a client: EC2 code, message, HTTP status; raised by api and domain only
      PartError           a part could not do its work (a command failed, QMP refused, a block is missing)
        CommandFailed     host.run: a program exited non-zero or timed out
        StorageError, MachineError, NetworkError, GuestError   one family per part, defined there

Invariant: parts never raise ApiError, and only the gateway turns an ApiError into a reply.
"""


class ApiError(Exception):
    """An error a client is told about. ``message`` never holds a secret."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class PartError(Exception):
    """A part could not do its work; the caller decides what that means for a record."""

"""How a step fails: always with a StepFailed, whatever went wrong inside.

The engine stores a failed step's error and reads it back after a restart, which an error with a constructor of
its own does not survive; and a workflow that met an error nobody foresaw must still bring its records to an end.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from bakehouse.errors import PartError

Result = TypeVar("Result")

_log = logging.getLogger("bakehouse.workflows")


class StepFailed(PartError):
    """A step could not do its work; the message is for the record's StateReason."""


def failing_in_one_way(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return ``function``, raising StepFailed for every error; what is a bug of ours goes to the log."""

    @wraps(function)
    def work(*arguments: Any) -> Result:
        try:
            return function(*arguments)
        except PartError as error:
            raise StepFailed(str(error)) from error
        except OSError as error:
            _log.warning("%s failed", function.__name__, exc_info=error)
            place = f"{error.filename}: " if error.filename else ""
            raise StepFailed(f"{place}{error.strerror or str(error) or 'it took too long'}") from error
        except Exception as error:
            _log.exception("%s failed", function.__name__)
            raise StepFailed("an internal error has occurred; the service's log has it") from error

    return work

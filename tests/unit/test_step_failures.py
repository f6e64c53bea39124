"""However a step fails, the engine can store the error, read it back and show it."""

import errno
import os
import pickle

import pytest

from bakehouse.durable.failures import StepFailed, failing_in_one_way
from bakehouse.errors import PartError
from bakehouse.host.run import CommandFailed
from bakehouse.hypervisor.qmp import RefusedError
from bakehouse.storage.errors import BlockMissing


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PartError("no room"), "no room"),
        (BlockMissing(b"\xab", snapshot_id="snap-1", block_index=7), "block ab (block 7 of snap-1) is missing"),
        (CommandFailed(["qemu-img"], "exit code 1", "no space"), "qemu-img: exit code 1: no space"),
        (RefusedError("cont", "GenericError", "not now"), "cont: not now"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/y"), "/x/y: No space left on device"),
        (TimeoutError(), "it took too long"),
        (KeyError("secret"), "an internal error has occurred; the service's log has it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_becomes_one_that_survives_a_restart(error: Exception, message: str) -> None:
    def step() -> None:
        raise error

    with pytest.raises(StepFailed) as caught:
        failing_in_one_way(step)()
    restored = pickle.loads(pickle.dumps(caught.value))
    assert (type(restored), str(restored)) == (StepFailed, message)


def test_a_step_that_does_not_fail_returns_what_it_made() -> None:
    def add(first: int, second: int) -> int:
        return first + second

    work = failing_in_one_way(add)
    assert (work(1, 2), work.__name__) == (3, "add")

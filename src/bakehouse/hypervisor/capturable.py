"""The verbs of captures, and of growth, the same for a running machine and for the disks of a stopped one."""

from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, ClassVar, TypeVar

from bakehouse.host.loop import HostLoop
from bakehouse.hypervisor import captures, resize
from bakehouse.hypervisor.capture_record import find_record, forget_capture
from bakehouse.hypervisor.live import LiveMachine
from bakehouse.hypervisor.spec import CaptureDisk, DiskView, MachineError

Result = TypeVar("Result")


class Capturable:
    """A QEMU whose disks can be captured; ``_is_live`` says whether a guest may be writing to them."""

    _is_live: ClassVar[bool]

    def __init__(self, loop: HostLoop, live: LiveMachine) -> None:
        self._loop = loop
        self._live = live

    def begin_capture(
        self,
        capture_id: str,
        disks: Sequence[CaptureDisk],
        *,
        quiesced: AbstractContextManager[object] | None = None,
    ) -> list[DiskView]:
        """Views of ``disks`` as they are at one instant, served until ``end_capture``.

        ``quiesced`` is entered right before the instant and left right after it (freeze and thaw belong
        there). ``capture_id``: at most 24 of a-z, 0-9 and "-". Repeated with the same id it returns the views
        that are served already, or starts afresh if they never were. On failure nothing is left behind. A
        capture that was given up while it was served (``capture_failure``) stays a MachineError until it is
        ended.
        """
        if (failure := self.capture_failure(capture_id)) is not None:
            raise MachineError(failure)
        if (views := self.find_views(capture_id)) is not None:
            return views
        self.end_capture(capture_id)
        try:
            plan = self._do(captures.prepare(self._live, capture_id, disks, is_live=self._is_live))
            with quiesced or nullcontext():
                self._do(captures.take(self._live, plan))
            return self._do(captures.publish(self._live, plan))
        except BaseException as error:
            failure = self.capture_failure(capture_id)
            self._clean_up_after_failure(capture_id)
            if failure is not None and isinstance(error, MachineError):
                # It was given up under our hands: that is the cause, not what we stumbled over then.
                raise MachineError(failure) from error
            raise

    def find_views(self, capture_id: str) -> list[DiskView] | None:
        """The views of a capture that are served now, or None."""
        return self._do(captures.find_views(self._live, capture_id))

    def end_capture(self, capture_id: str) -> None:
        """Stop serving a capture and delete its scratch files; idempotent."""
        try:
            self._do(captures.end(self._live, capture_id))
        except MachineError:
            if not self._live.has_ended:
                raise
            forget_capture(self._live.files, capture_id)

    def captures(self) -> list[str]:
        """The ids of the captures there is any trace of, whole or half begun."""
        return self._do(captures.find_captures(self._live))

    def capture_failure(self, capture_id: str) -> str | None:
        """Why a capture was given up while it was served, if it was; known until ``end_capture``."""
        record = find_record(self._live.files, capture_id)
        return record.failure if record else None

    def grow_disk(self, volume_id: str, size_bytes: int) -> None:
        """Give a disk at least this size, which a running guest is told; idempotent.

        MachineError while it is being captured, and for a disk this QEMU has not.
        """
        self._do(resize.grow_disk(self._live, volume_id, size_bytes))

    def disk_size_bytes(self, volume_id: str) -> int:
        """A disk's size as the guest is shown it."""
        return self._do(resize.disk_size_bytes(self._live, volume_id))

    def _clean_up_after_failure(self, capture_id: str) -> None:
        with suppress(MachineError):  # what failed first is what the caller must hear
            self.end_capture(capture_id)

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        # No limit here: every wait inside has its own.
        return self._loop.call(work, timeout_s=None)

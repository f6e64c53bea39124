"""Machines: one QEMU process each, started here, and found again after a restart of the service.

``Machines`` is this part's public class, ``Machine`` a handle on one running process. Both are synchronous
and may be called from any thread but the host loop's, where the work is done.

Invariant: the truth about a machine is its process, its QMP answers and the files of its directory; nothing
is remembered here that a restarted service could not find out again.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from bakehouse.host.locks import Locks
from bakehouse.host.loop import HostLoop
from bakehouse.host.spawn import Spawner
from bakehouse.hypervisor import captures, devices, power
from bakehouse.hypervisor.capturable import Capturable
from bakehouse.hypervisor.capture_record import all_records, forget_capture
from bakehouse.hypervisor.launch import adopt_or_launch, remove_files, wait_until_ready
from bakehouse.hypervisor.live import LiveMachine, judge_exit
from bakehouse.hypervisor.process import find_process, give_back_head, kill_and_wait, read_tail
from bakehouse.hypervisor.spec import (
    DiskSpec,
    ExitReason,
    MachineError,
    MachineSpec,
    NicSpec,
)
from bakehouse.paths import InstanceDirectory, StateDirectory

OnExit = Callable[[str, ExitReason], None]

_UNPLUG_TIMEOUT_S = 30.0
_LOG_KEEP_BYTES = 1 << 20
_TRIM_INTERVAL_S = 60.0
_FULL_DISK = "the host's disk was full"


class Machine(Capturable):
    """A handle on one running QEMU; verbs raise MachineError when the process is gone or does not answer."""

    _is_live = True

    @property
    def instance_id(self) -> str:
        """The instance this machine is."""
        return self._live.spec.instance_id

    @property
    def pid(self) -> int:
        """QEMU's host pid."""
        return self._live.pid

    @property
    def spec(self) -> MachineSpec:
        """The machine as it is now, hot-plugged devices included."""
        return self._live.spec

    def status(self) -> str:
        """QEMU's run state: running, paused, shutdown (held), io-error (waits for disk space) ..."""
        return self._do(self._live.status())

    def power_down(self, *, timeout_s: float) -> bool:
        """Ask the guest to shut down; True when the process has ended, False after ``timeout_s``."""
        return self._do(power.power_down(self._live, timeout_s=timeout_s))

    def shut_down_and_hold(self, *, timeout_s: float) -> bool:
        """Shut the guest down cleanly with QEMU and its disks kept; False when it does not in time."""
        return self._do(power.shut_down_and_hold(self._live, timeout_s=timeout_s))

    def shut_down_for_boot(self, *, timeout_s: float) -> bool:
        """The same, but a guest that is not down in time goes on shutting down, to be held: ask again, or boot."""
        return self._do(power.shut_down_for_boot(self._live, timeout_s=timeout_s))

    def boot_again(self) -> None:
        """Boot a machine that is held or paused, from the beginning; a running one is left to run."""
        self._do(power.boot_again(self._live))

    def quit(self) -> None:
        """End the process at once, as pulling the plug; returns when it is gone."""
        self._do(power.quit_now(self._live))

    def pause(self) -> None:
        """Stop the virtual processors."""
        self._do(self._live.session.execute("stop"))

    def resume(self) -> None:
        """Let the virtual processors run."""
        self._do(self._live.session.execute("cont"))

    def has_agent(self) -> bool:
        """Whether the guest has its agent's channel open now; without an agent it never is."""
        return self._do(power.has_agent(self._live))

    def screenshot(self) -> bytes:
        """The screen as PNG."""
        return self._do(power.screenshot(self._live))

    def attach_disk(self, disk: DiskSpec) -> None:
        """Plug a disk in; idempotent."""
        self._do(devices.attach_disk(self._live, disk))

    def detach_disk(self, volume_id: str, *, timeout_s: float = _UNPLUG_TIMEOUT_S) -> None:
        """Unplug a disk and close its files; idempotent. MachineError when the guest does not release it."""
        self._do(devices.detach_disk(self._live, volume_id, timeout_s=timeout_s))

    def add_nic(self, nic: NicSpec, *, tap_fd: int) -> None:
        """Plug an interface in over an open tap, whose descriptor stays the caller's to close; idempotent."""
        self._do(devices.add_nic(self._live, nic, tap_fd=tap_fd))

    def remove_nic(self, interface_id: str, *, timeout_s: float = _UNPLUG_TIMEOUT_S) -> None:
        """Unplug an interface; idempotent. MachineError when the guest does not release it."""
        self._do(devices.remove_nic(self._live, interface_id, timeout_s=timeout_s))


class Machines:
    """All machines of this host. ``close`` lets go of them; they run on."""

    def __init__(self, loop: HostLoop, state: StateDirectory) -> None:
        self._loop = loop
        self._state = state
        self._live: dict[str, LiveMachine] = {}
        # Starting and finding one machine are serial: two threads must not start it twice.
        self._locks = Locks()
        self._trimmer = asyncio.run_coroutine_threadsafe(self._trim_for_ever(), loop.loop)

    def launch(self, spec: MachineSpec, *, spawn: Spawner, tap_fds: Mapping[str, int]) -> Machine:
        """Start ``spec``, or return the machine of this instance id if it runs already.

        ``tap_fds`` holds an open tap per interface id; they stay the caller's to close, and are not used when
        the machine runs already. Raises MachineError with the end of qemu.log.
        """
        with self._locks[spec.instance_id]:
            if (machine := self._find_known(spec.instance_id)) is not None:
                return machine
            files = self._state.instance(spec.instance_id)
            live = adopt_or_launch(self._loop, spec, files, spawn=spawn, tap_fds=tap_fds)
            return self._remember(live)

    def find(self, instance_id: str) -> Machine | None:
        """The running machine of an instance; None when it does not run, MachineError when it is hung."""
        with self._locks[instance_id]:
            if (machine := self._find_known(instance_id)) is not None:
                return machine
            files = self._state.instance(instance_id)
            spec = _read_spec(files)
            pid = find_process(files.pid_file, uid=spec.uid) if spec else None
            if spec is None or pid is None:
                return None
            machine = self._remember(wait_until_ready(self._loop, spec, files, pid))
        machine.status()  # lets a guest go on that waits for disk space
        return machine

    def all_running(self) -> list[str]:
        """The instance ids of all machines whose process lives, answering or not."""
        return sorted(self.pids())

    def pids(self) -> dict[str, int]:
        """QEMU's pid by instance id, of the processes that live."""
        found = {}
        for path in sorted(self._state.instances.glob("*.json")):
            files = self._state.instance(path.stem)
            spec = _read_spec(files)
            pid = find_process(files.pid_file, uid=spec.uid) if spec else None
            if pid is not None:
                found[path.stem] = pid
        return found

    def watch(self, instance_id: str, on_exit: OnExit) -> None:
        """Call ``on_exit(instance_id, reason)`` once, from the loop's thread, when the process ends.

        A machine that does not run is reported too, with what its files tell; one never launched is not. One that is
        watched already is reported to whom asked first.
        """
        with self._locks[instance_id]:
            machine = self.find(instance_id)
            live = self._live[instance_id] if machine else None
            if live is not None:
                if live.is_watched:
                    return
                live.is_watched = True
        self._loop.loop.call_soon_threadsafe(
            lambda: self._loop.loop.create_task(self._report_end(instance_id, live, on_exit))
        )

    def kill(self, instance_id: str) -> None:
        """End a machine that may be hung, with SIGKILL; nothing happens when it does not run."""
        files = self._state.instance(instance_id)
        spec = _read_spec(files)
        pid = find_process(files.pid_file, uid=spec.uid) if spec else None
        if spec is not None and pid is not None:
            with self._locks[instance_id]:
                if live := self._live.get(instance_id):
                    live.quit_requested = True
            kill_and_wait(pid, pid_file=files.pid_file, uid=spec.uid)

    def remove(self, instance_id: str) -> None:
        """Delete the files of a machine that does not run any more; idempotent. Volumes are not touched."""
        with self._locks[instance_id]:
            files = self._state.instance(instance_id)
            if (spec := _read_spec(files)) and find_process(files.pid_file, uid=spec.uid) is not None:
                raise MachineError(f"{instance_id} still runs")
            self._forget(instance_id)
            remove_files(files)

    def end_capture(self, instance_id: str, capture_id: str) -> None:
        """End a capture whether its machine still runs or not; idempotent."""
        if (machine := self.find(instance_id)) is not None:
            machine.end_capture(capture_id)
            return
        forget_capture(self._state.instance(instance_id), capture_id)

    def console_output(self, instance_id: str, *, limit_bytes: int = 65536) -> bytes:
        """The end of the serial console's log; empty when there is none."""
        files = self._state.instance(instance_id)
        spec = _read_spec(files)
        return read_tail(files.serial_log, limit_bytes=limit_bytes, uid=spec.uid) if spec else b""

    def trim_logs(self) -> None:
        """Give back the space of all but the end of each machine's logs; done every minute by itself."""
        for path in self._state.instances.glob("*.json"):
            files = self._state.instance(path.stem)
            if (spec := _read_spec(files)) is not None:
                for log in (files.serial_log, files.qemu_log):
                    give_back_head(log, keep_bytes=_LOG_KEEP_BYTES, uid=spec.uid)

    def close(self) -> None:
        """Disconnect from every machine; they run on."""
        self._trimmer.cancel()
        for instance_id in list(self._live):
            self._forget(instance_id)

    async def _trim_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_TRIM_INTERVAL_S)
            with suppress(OSError, MachineError):  # a machine may be removed meanwhile
                await asyncio.to_thread(self.trim_logs)

    def _find_known(self, instance_id: str) -> Machine | None:
        live = self._live.get(instance_id)
        if live is None:
            return None
        if live.has_ended:
            self._forget(instance_id)
            return None
        self._loop.call(live.session.connect(), timeout_s=None)
        return Machine(self._loop, live)

    def _remember(self, live: LiveMachine) -> Machine:
        async def on_full_disk() -> None:
            for record in all_records(live.files):
                await captures.give_up(live, record.capture_id, _FULL_DISK)
            await power.retry_until_it_runs(live)

        live.on_full_disk = on_full_disk
        self._live[live.spec.instance_id] = live
        return Machine(self._loop, live)

    def _forget(self, instance_id: str) -> None:
        if (live := self._live.pop(instance_id, None)) is not None:
            self._loop.call(live.close(), timeout_s=None)

    async def _report_end(self, instance_id: str, live: LiveMachine | None, on_exit: OnExit) -> None:
        if live is not None:
            await live.ended.wait()
            on_exit(instance_id, await live.exit_reason())
            return
        files = self._state.instance(instance_id)
        if (spec := _read_spec(files)) is not None:
            on_exit(instance_id, judge_exit(files, uid=spec.uid, by_guest=None, quit_requested=False))


def _read_spec(files: InstanceDirectory) -> MachineSpec | None:
    try:
        return MachineSpec.from_json(files.spec.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise MachineError(f"{files.spec} is damaged ({error})") from error

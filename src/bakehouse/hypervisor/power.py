"""Stop, hold, restart and end a machine.

Invariant: every verb may be repeated after a crash of the service and leads to the same end.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bakehouse.hypervisor.live import LiveMachine
from bakehouse.hypervisor.process import kill_and_wait
from bakehouse.hypervisor.qmp import RefusedError
from bakehouse.hypervisor.spec import MachineError

Check = Callable[[], Awaitable[bool]]

# A guest that is still booting loses the first press of the button.
_PRESS_INTERVAL_S = 5.0
_QUIT_TIMEOUT_S = 15.0
_FULL_DISK_RETRY_S = 5.0
_SCREENSHOT_LIMIT_BYTES = 32 << 20


async def power_down(live: LiveMachine, *, timeout_s: float) -> bool:
    """Press the power button until the process has ended; False when the guest does not react in time."""
    try:
        await live.session.execute("set-action", {"shutdown": "poweroff"})
        if await live.status() == "shutdown":  # held by an earlier shut_down_and_hold
            await quit_now(live)
            return True

        async def has_ended() -> bool:
            return live.has_ended

        return await _press_until(live, has_ended, timeout_s=timeout_s)
    except MachineError:
        if await live.wait_for_end(timeout_s=1):
            return True
        raise


async def shut_down_and_hold(live: LiveMachine, *, timeout_s: float) -> bool:
    """Shut the guest down cleanly but keep QEMU and its disks; False when it does not react."""
    if await shut_down_for_boot(live, timeout_s=timeout_s):
        return True
    await live.session.execute("set-action", {"shutdown": "poweroff"})
    return await live.status() == "shutdown"


async def shut_down_for_boot(live: LiveMachine, *, timeout_s: float) -> bool:
    """Shut the guest down but keep QEMU; False when it is not down yet: it is held then too, whenever that happens."""

    async def is_down() -> bool:
        return await live.status() == "shutdown"

    await live.session.execute("set-action", {"shutdown": "pause"})
    return await is_down() or await _press_until(live, is_down, timeout_s=timeout_s)


async def boot_again(live: LiveMachine) -> None:
    """Boot a held machine, or a paused one, whose guest begins anew; a running one's shutdown ends it again."""
    # First: a service killed in the middle of this leaves no machine that is held for ever once it shuts down.
    await live.session.execute("set-action", {"shutdown": "poweroff"})
    status = await live.status()
    if status in ("shutdown", "paused"):
        await live.session.execute("system_reset")
    if status in ("shutdown", "paused", "prelaunch"):  # the last: reset by a service that died just then
        await live.session.execute("cont")


async def quit_now(live: LiveMachine) -> None:
    """End QEMU: orderly (bitmaps are kept) if it answers, by signal if it does not."""
    live.quit_requested = True
    if not live.has_ended:
        with suppress(MachineError):
            await live.session.execute("quit", timeout_s=_QUIT_TIMEOUT_S)
        if not await live.wait_for_end(timeout_s=_QUIT_TIMEOUT_S):
            pid_file, uid = live.files.pid_file, live.spec.uid
            await asyncio.to_thread(kill_and_wait, live.pid, pid_file=pid_file, uid=uid)
    await live.wait_for_end(timeout_s=_QUIT_TIMEOUT_S)


async def retry_until_it_runs(live: LiveMachine) -> None:
    """Let a guest that waits for room on the host's disk try again, until it gets it."""
    while not live.has_ended and await live.status() == "io-error":
        with suppress(RefusedError):
            await live.session.execute("cont")
        await asyncio.sleep(_FULL_DISK_RETRY_S)


async def has_agent(live: LiveMachine) -> bool:
    """Whether something in the guest has opened the guest agent's channel."""
    channels: list[dict[str, Any]] = await live.session.execute("query-chardev")
    return any(channel["label"] == "agent" and channel["frontend-open"] for channel in channels)


async def screenshot(live: LiveMachine) -> bytes:
    """The screen as PNG, through memory: no file of the guest's directory is read."""
    memory = os.memfd_create("screen", os.MFD_CLOEXEC)
    try:
        # QEMU takes a descriptor only for exactly the access it wants: writing.
        writable = os.open(f"/proc/self/fd/{memory}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            reply = await live.session.execute("add-fd", fd=writable)
        finally:
            os.close(writable)
        try:
            path = f"/dev/fdset/{reply['fdset-id']}"
            await live.session.execute("screendump", {"filename": path, "format": "png"})
        finally:
            with suppress(MachineError):
                await live.session.execute("remove-fd", {"fdset-id": reply["fdset-id"]})
        size = os.fstat(memory).st_size
        if not 0 < size <= _SCREENSHOT_LIMIT_BYTES:
            raise MachineError(f"QEMU wrote a screenshot of {size} bytes")
        return Path(f"/proc/self/fd/{memory}").read_bytes()[:_SCREENSHOT_LIMIT_BYTES]
    finally:
        os.close(memory)


async def _press_until(live: LiveMachine, check: Check, *, timeout_s: float) -> bool:
    """Press the power button every few seconds until ``check`` holds."""
    if await live.status() == "paused":
        await live.session.execute("cont")
    deadline = asyncio.get_running_loop().time() + timeout_s
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        if await check():
            return True
        with suppress(RefusedError):
            await live.session.execute("system_powerdown")
        if await live.wait_until(check, timeout_s=min(left, _PRESS_INTERVAL_S)):
            return True
    return await check()

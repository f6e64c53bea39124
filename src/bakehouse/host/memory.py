"""How much memory this host has (proc_meminfo(5)), and what a machine takes of it besides its guest's own."""

from pathlib import Path

# Where QEMU keeps translated code when it emulates. Debian fills it within minutes of use, then it is begun anew, so a
# smaller one would cost time, and all of it has to be reckoned with.
TRANSLATION_BUFFER_MIB = 512
# The process itself: 50 MiB with a guest that does nothing, 130 with one that has filled the buffer, whose index it
# keeps beside it; some for what a busy guest's disks and interfaces take.
_PROCESS_MIB = 160


def machine_overhead_mib(*, is_emulated: bool) -> int:
    """What the host needs for a machine besides the memory of its guest, at most."""
    return _PROCESS_MIB + (TRANSLATION_BUFFER_MIB if is_emulated else 0)


def total_memory_mib() -> int:
    """Physical memory in MiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    raise OSError("the kernel does not report MemTotal")

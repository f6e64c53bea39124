"""How much memory this host has (proc_meminfo(5))."""

from pathlib import Path


def total_memory_mib() -> int:
    """Physical memory in MiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    raise OSError("the kernel does not report MemTotal")

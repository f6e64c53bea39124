"""Files a machine may write to, and processes found by name: what the kernel says counts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bakehouse.hypervisor.process import find_process, give_back_head, kill_and_wait, read_tail

pytestmark = pytest.mark.programs


def test_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    log.write_bytes(b"0123456789")
    assert read_tail(log, limit_bytes=4, uid=None) == b"6789"
    assert read_tail(log, limit_bytes=100, uid=None) == b"0123456789"
    assert read_tail(tmp_path / "nothing", limit_bytes=4, uid=None) == b""


def test_links_pipes_and_files_of_others_are_not_read(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    link = tmp_path / "link"
    link.symlink_to(target)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_tail(link, limit_bytes=10, uid=None) == b""
    assert read_tail(pipe, limit_bytes=10, uid=None) == b""
    assert read_tail(target, limit_bytes=10, uid=4_000_000) == b""


def test_a_long_log_gives_its_space_back_and_keeps_its_end(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    log.write_bytes(b"x" * (8 << 20) + b"the end")
    give_back_head(log, keep_bytes=1 << 20, uid=None)
    assert log.stat().st_blocks * 512 < 2 << 20
    assert log.stat().st_size == (8 << 20) + 7
    assert read_tail(log, limit_bytes=8, uid=None) == b"xthe end"


def test_a_process_is_found_by_its_pid_file_and_no_other_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "qemu.pid"
    code = "import time; print(flush=True); time.sleep(60)"
    words = [sys.executable, "-c", code, "-pidfile", str(pid_file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # Popen may return before the kernel shows the new command line
            assert find_process(pid_file, uid=None) == process.pid
            assert find_process(pid_file, uid=4_000_000) is None
            # A pid file that names a process which is not ours to name.
            pid_file.write_text(str(os.getpid()))
            assert find_process(pid_file, uid=None) == process.pid
            kill_and_wait(os.getpid(), pid_file=pid_file, uid=None)
            kill_and_wait(process.pid, pid_file=pid_file, uid=4_000_000)
            assert process.poll() is None
            kill_and_wait(process.pid, pid_file=pid_file, uid=None)
        finally:
            process.kill()
    assert find_process(pid_file, uid=None) is None

"""A host of the test's own: a network namespace that plays the host, and one that plays the internet.

A veth joins them. What leaks out of a VPC is tried only there, never against the machine the tests run on.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.framework.patience import PATIENCE_S, wait_for

HOST_ADDRESS = "192.0.2.10"
INTERNET_ADDRESS = "203.0.113.99"
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class FakeHost:
    """``host_pid`` and ``internet_pid`` hold the two namespaces."""

    host_pid: int
    internet_pid: int

    def argv(self, words: Sequence[str], *, on_internet: bool = False) -> list[str]:
        """The words that run a program there."""
        pid = self.internet_pid if on_internet else self.host_pid
        enter = ["nsenter", f"--target={pid}", "--net"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        return [*enter, "--", *words]

    def run(self, *words: str, on_internet: bool = False) -> str:
        """Run a program there to its end; it must succeed."""
        done = subprocess.run(
            self.argv(words, on_internet=on_internet),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'src'}"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, module: str, *words: str) -> str:
        """Run one of our modules on the fake host."""
        return self.run(sys.executable, "-m", module, *words)

    @contextmanager
    def serving(self, words: Sequence[str], *, port: int, on_internet: bool = False) -> Iterator[None]:
        """Run a server there for the length of the block, which begins when it listens at the port."""
        server = subprocess.Popen(self.argv(words, on_internet=on_internet), stderr=subprocess.DEVNULL)
        listening = ("ss", "-Hltn", f"sport = :{port}")
        try:
            wait_for(lambda: self.run(*listening, on_internet=on_internet).strip(), f"a server at {port}")
            yield
        finally:
            server.kill()
            server.wait()


@contextmanager
def fake_host() -> Iterator[FakeHost]:
    """Make both namespaces, with addresses and routes, for the length of the block."""
    with ExitStack() as stack:
        own = ["--user", "--map-root-user"] if os.geteuid() != 0 else []
        host = stack.enter_context(_namespace(["unshare", *own, "--net"]))
        made = FakeHost(host_pid=host, internet_pid=0)
        internet = stack.enter_context(_namespace(made.argv(["unshare", "--net"])))
        made = FakeHost(host_pid=host, internet_pid=internet)
        for words in (
            "ip link set lo up",
            f"ip link add eth0 type veth peer name eth0 netns {internet}",
            f"ip addr add {HOST_ADDRESS}/24 dev eth0",
            "ip link set eth0 up",
            "ip route add default dev eth0",
        ):
            made.run(*words.split())
        for words in (
            "ip link set lo up",
            f"ip addr add {INTERNET_ADDRESS}/32 dev eth0",
            "ip link set eth0 up",
            "ip route add 192.0.2.0/24 dev eth0",
            # The clouds' real metadata address, served where the host's own provider would serve it.
            "ip addr add 169.254.169.254/32 dev lo",
        ):
            made.run(*words.split(), on_internet=True)
        yield made


@contextmanager
def _namespace(words: list[str]) -> Iterator[int]:
    """A process that holds a namespace; its pid (the words exec, so the pid is the namespace's)."""
    holder = subprocess.Popen([*words, "sh", "-c", "echo up; exec sleep 1000"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        time.sleep(0.01)
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()

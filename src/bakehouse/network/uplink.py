"""The way out of a VPC: one slirp4netns per namespace, in the host's own network namespace.

It runs under the agent's uid without capabilities and ends when the agent does: the agent holds the only
write end of its exit pipe. It opens ordinary sockets on the host, so what guests may reach through it is
decided before, by the firewall inside the namespace.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bakehouse.host.files import make_private_directory
from bakehouse.host.run import CommandFailed, run
from bakehouse.network.addressing import uplink_network
from bakehouse.network.namespace import SYSTEM_TUN, NamespaceHandles, find_tun_node, program
from bakehouse.network.spec import NetworkError, VpcSpec
from bakehouse.paths import StateDirectory

_START_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class StartedUplink:
    """A running uplink: it ends when every copy of ``life_fd`` is closed."""

    pid: int
    life_fd: int


def start_uplink(spec: VpcSpec, state: StateDirectory, namespaces: NamespaceHandles) -> StartedUplink:
    """Start slirp4netns for a namespace and wait until its device is configured; about 0.1 s, blocking.

    The caller owns ``life_fd``. NetworkError when it does not come up.
    """
    directory = state.vpc(spec.vpc_id)
    tun = find_tun_node(state, is_root=spec.agent_uid is not None)
    make_private_directory(directory.uplink, owner=spec.agent_uid)
    with ExitStack() as stack:
        exit_fd, life_fd = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, exit_fd)
        undo = stack.enter_context(ExitStack())
        undo.callback(os.close, life_fd)
        fds = [exit_fd, namespaces.user_fd, namespaces.net_fd]
        order = {
            "uid": spec.agent_uid,
            "tun": str(tun) if tun != SYSTEM_TUN else None,
            "fds": fds,
            "directory": str(directory.uplink),
            "log": directory.uplink_log.name,
            "cidr": str(uplink_network(spec.cidr)),
        }
        pid = _run_program(order, fds, directory.uplink_log)
        undo.pop_all()
    return StartedUplink(pid=pid, life_fd=life_fd)


def _run_program(order: Mapping[str, object], fds: list[int], log: Path) -> int:
    try:
        done = run(program("bakehouse.network.uplink_program", order), pass_fds=fds, timeout_s=_START_TIMEOUT_S)
    except CommandFailed as error:
        raise NetworkError(f"the uplink did not start: {error}; its log ends: {_tail(log)}") from error
    return int(done.stdout)


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-1000:].strip()
    except OSError:
        return "(no log)"

"""The commands and kernel settings that make up a VPC's namespace: pure text, idempotent to apply.

Invariant: forwarding is switched on last (``FORWARDING``), after the firewall is in place. No bridge exists:
each interface is a tap with its own host route, so all traffic crosses the firewall's forward hook.
"""

from bakehouse.network.addressing import (
    GATEWAY_ADDRESS,
    LINK_LOCAL_RESOLVER,
    METADATA_ADDRESS,
    ROUTER_MAC,
    TAP_MTU,
    subnet_router,
    tap_name,
    vpc_resolver,
    vpc_router,
)
from bakehouse.network.spec import InterfaceSpec, VpcSpec

SysctlValues = tuple[tuple[str, str], ...]

# Relative to /proc/sys/net. VPCs have no IPv6.
NAMESPACE_SETTINGS: SysctlValues = (
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
)
FORWARDING: SysctlValues = (("ipv4/ip_forward", "1"),)


def namespace_commands(spec: VpcSpec) -> str:
    """The ip batch that gives a namespace its own addresses.

    Unknown addresses of the VPC are unreachable, so that they never go to the uplink.
    """
    addresses = (
        vpc_router(spec.cidr),
        vpc_resolver(spec.cidr),
        METADATA_ADDRESS,
        LINK_LOCAL_RESOLVER,
        GATEWAY_ADDRESS,
    )
    lines = ["link set lo up"]
    lines += [f"addr replace {address}/32 dev lo" for address in addresses]
    lines.append(f"route replace unreachable {spec.cidr} metric 4096")
    return "\n".join(lines) + "\n"


def interface_settings(interface: InterfaceSpec) -> SysctlValues:
    """The router answers every ARP question of the guest at once, as EC2's does."""
    tap = tap_name(interface.interface_id)
    return (
        (f"ipv4/conf/{tap}/proxy_arp", "1"),
        (f"ipv4/neigh/{tap}/proxy_delay", "0"),
    )


def interface_commands(interface: InterfaceSpec) -> str:
    """The ip batch that joins an interface's tap to the VPC."""
    tap = tap_name(interface.interface_id)
    router = subnet_router(interface.subnet_cidr)
    return (
        f"addr replace {router}/32 dev lo\n"
        f"link set {tap} address {ROUTER_MAC} mtu {TAP_MTU} up\n"
        f"route replace {interface.private_ip}/32 dev {tap} src {router}\n"
        f"neigh replace {interface.private_ip} lladdr {interface.mac} dev {tap} nud permanent\n"
    )


def removal_commands(interface: InterfaceSpec) -> str:
    """The ip batch that takes an interface away; run it with -force, the tap may be gone already."""
    return f"link del {tap_name(interface.interface_id)}\nroute del {interface.private_ip}/32\n"

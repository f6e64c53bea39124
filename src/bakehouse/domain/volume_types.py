"""Volume types: the sizes and the performance each may have.

Invariant: a volume's row holds figures that passed ``performance_of``. They are what the client asked for;
the host's disk gives what it can.
Limits: EC2 API Reference, CreateVolume; EBS User Guide, "Amazon EBS volume types".
"""

from dataclasses import dataclass

from bakehouse import errors


@dataclass(frozen=True, kw_only=True)
class VolumeType:
    """The limits of one type. ``iops`` and ``throughput_mibps`` are None where they cannot be chosen."""

    sizes_gib: tuple[int, int]
    iops: tuple[int, int] | None = None
    iops_per_gib: int = 0
    default_iops: int | None = None
    throughput_mibps: tuple[int, int] | None = None
    can_boot: bool = True


@dataclass(frozen=True, kw_only=True)
class Performance:
    """What a volume of a type has; None where the type has no such figure."""

    iops: int | None
    throughput_mibps: int | None


_TYPES = {
    "gp2": VolumeType(sizes_gib=(1, 16_384)),
    "gp3": VolumeType(
        sizes_gib=(1, 65_536), iops=(3_000, 80_000), iops_per_gib=500, default_iops=3_000, throughput_mibps=(125, 2_000)
    ),
    "io1": VolumeType(sizes_gib=(4, 16_384), iops=(100, 64_000), iops_per_gib=50),
    "io2": VolumeType(sizes_gib=(4, 65_536), iops=(100, 256_000), iops_per_gib=1_000),
    "st1": VolumeType(sizes_gib=(125, 16_384), can_boot=False),
    "sc1": VolumeType(sizes_gib=(125, 16_384), can_boot=False),
    "standard": VolumeType(sizes_gib=(1, 1_024)),
}
_MIBPS_PER_IOPS = 0.25


def can_boot(name: str) -> bool:
    """Tell whether a root volume may be of this type."""
    return _find(name).can_boot


def chosen_figures(name: str, iops: int | None, throughput_mibps: int | None) -> dict[str, int]:
    """Return a volume's figures in the API's shape, without those its type alone decides."""
    kind = _find(name)
    figures = {"Iops": iops if kind.iops else None, "Throughput": throughput_mibps if kind.throughput_mibps else None}
    return {member: figure for member, figure in figures.items() if figure is not None}


def performance_of(name: str, size_gib: int, iops: int | None, throughput_mibps: int | None) -> Performance:
    """Check what a client asks of a volume of this type; return it complete.

    Raises InvalidParameterValue for what is out of bounds, InvalidParameterCombination for what the type
    does not offer, MissingParameter for the iops that io1 and io2 need.
    """
    kind = _find(name)
    smallest, largest = kind.sizes_gib
    if not smallest <= size_gib <= largest:
        raise errors.invalid_parameter_value(
            f"Volume of {size_gib}GiB is invalid for volume type {name}; it must be {smallest} to {largest} GiB."
        )
    chosen = _iops(name, kind, size_gib, iops)
    return Performance(iops=chosen, throughput_mibps=_throughput(name, kind, chosen, throughput_mibps))


def _find(name: str) -> VolumeType:
    if name not in _TYPES:
        raise errors.invalid_value_for("volumeType", name, "It is not a volume type.")
    return _TYPES[name]


def _iops(name: str, kind: VolumeType, size_gib: int, iops: int | None) -> int | None:
    if kind.iops is None:
        if iops is not None:
            raise errors.invalid_parameter_combination(f"The parameter iops is not supported for {name} volumes.")
        # gp2 earns its figure by its size; the others are not measured in it.
        return min(max(3 * size_gib, 100), 16_000) if name == "gp2" else None
    if iops is None:
        if kind.default_iops is None:
            raise errors.missing_parameter("iops")
        return kind.default_iops
    least, most = kind.iops
    if not least <= iops <= most:
        raise errors.invalid_parameter_value(
            f"Volume iops of {iops} is out of bounds for {name}; it must be {least} to {most}."
        )
    # Below the size that would earn it, the least is still allowed (gp3's baseline).
    if iops > max(kind.iops_per_gib * size_gib, least):
        raise errors.invalid_parameter_value(
            f"Iops to volume size ratio of {iops}:{size_gib} is too high; maximum is {kind.iops_per_gib}:1."
        )
    return iops


def _throughput(name: str, kind: VolumeType, iops: int | None, throughput_mibps: int | None) -> int | None:
    if kind.throughput_mibps is None:
        if throughput_mibps is not None:
            raise errors.invalid_parameter_combination(f"The parameter throughput is not supported for {name} volumes.")
        return None
    least, most = kind.throughput_mibps
    if throughput_mibps is None:
        return least
    if not least <= throughput_mibps <= most:
        raise errors.invalid_parameter_value(
            f"Throughput of {throughput_mibps} MiB/s is out of bounds for {name}; it must be {least} to {most}."
        )
    if iops is not None and throughput_mibps > iops * _MIBPS_PER_IOPS:
        raise errors.invalid_parameter_value(
            f"Throughput of {throughput_mibps} MiB/s is too high for {iops} iops; maximum is {_MIBPS_PER_IOPS:g} each."
        )
    return throughput_mibps

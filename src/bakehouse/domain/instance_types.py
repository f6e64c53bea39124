"""Instance types: names, vCPUs and memory of the usual x86-64 families.

Facts from AWS's instance type tables (docs.aws.amazon.com/ec2/latest/instancetypes). Only what is true of
our machines is stated: vCPUs and memory are really given, network and disk bandwidth are the host's.
"""

from dataclasses import dataclass

from bakehouse.errors import ApiError

_BURSTABLE = {
    "nano": (2, 0.5),
    "micro": (2, 1),
    "small": (2, 2),
    "medium": (2, 4),
    "large": (2, 8),
    "xlarge": (4, 16),
    "2xlarge": (8, 32),
}
# T2 is older: its small sizes have one vCPU.
_T2 = {**_BURSTABLE, "nano": (1, 0.5), "micro": (1, 1), "small": (1, 2)}
# vCPUs by size; memory follows from the family's ratio.
_SIZES = {
    "medium": 1,
    "large": 2,
    "xlarge": 4,
    "2xlarge": 8,
    "4xlarge": 16,
    "8xlarge": 32,
    "12xlarge": 48,
    "16xlarge": 64,
    "24xlarge": 96,
}
_OLDER = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge")
_NEWER_AMD = ("medium", *_OLDER)
# GiB per vCPU, sizes; families with the same shape.
_FAMILIES: dict[str, tuple[int, tuple[str, ...]]] = {
    **dict.fromkeys(("m5", "m5a", "m6i", "m6a", "m7i"), (4, _OLDER)),
    "m7a": (4, _NEWER_AMD),
    **dict.fromkeys(("c6i", "c6a", "c7i"), (2, _OLDER)),
    "c5": (2, ("large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge")),
    "c7a": (2, _NEWER_AMD),
    **dict.fromkeys(("r5", "r5a", "r6i", "r6a", "r7i"), (8, _OLDER)),
    "r7a": (8, _NEWER_AMD),
}


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """One type."""

    name: str
    vcpus: int
    memory_mib: int
    is_burstable: bool = False

    @property
    def is_free_tier(self) -> bool:
        """Whether AWS offers it in its free tier."""
        return self.name in {"t2.micro", "t3.micro"}

    @property
    def is_current_generation(self) -> bool:
        """AWS calls everything here current."""
        return True


def _build() -> dict[str, InstanceType]:
    found = {}
    for family, sizes in {"t2": _T2, "t3": _BURSTABLE, "t3a": _BURSTABLE}.items():
        for size, (vcpus, memory_gib) in sizes.items():
            name = f"{family}.{size}"
            found[name] = InstanceType(name=name, vcpus=vcpus, memory_mib=int(memory_gib * 1024), is_burstable=True)
    for family, (ratio, offered) in _FAMILIES.items():
        for size in offered:
            name, vcpus = f"{family}.{size}", _SIZES[size]
            found[name] = InstanceType(name=name, vcpus=vcpus, memory_mib=vcpus * ratio * 1024)
    return found


INSTANCE_TYPES = _build()


def get_instance_type(name: str) -> InstanceType:
    """Return a type; InvalidParameterValue as EC2 words it."""
    found = INSTANCE_TYPES.get(name)
    if found is None:
        raise ApiError("InvalidParameterValue", f"Invalid value '{name[:64]}' for InstanceType.")
    return found


def select_types(names: list[str]) -> list[InstanceType]:
    """Return the named types (all without names); InvalidInstanceType for one that does not exist."""
    unknown = [name for name in names if name not in INSTANCE_TYPES]
    if unknown:
        raise ApiError(
            "InvalidInstanceType",
            f"The following supplied instance types do not exist: [{', '.join(unknown)}]",
        )
    return [INSTANCE_TYPES[name] for name in names] if names else list(INSTANCE_TYPES.values())

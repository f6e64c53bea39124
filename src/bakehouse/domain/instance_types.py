"""The instance types: name, virtual CPUs and memory of EC2's x86-64 families that need no special hardware.

Invariant: a machine of a type is given exactly these CPUs and this memory. Figures: EC2's instance type pages.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bakehouse.errors import ApiError

# Types that free-tier accounts are given.
_FREE_TIER = frozenset({"t2.micro", "t3.micro"})
_PREVIOUS_GENERATIONS = frozenset({"t1", "m1", "m3", "m4", "c3", "c4", "r3", "r4"})

# family: size=vcpus/memory in MiB
_IRREGULAR = """
t2  nano=1/512 micro=1/1024 small=1/2048 medium=2/4096 large=2/8192 xlarge=4/16384 2xlarge=8/32768
t3  nano=2/512 micro=2/1024 small=2/2048 medium=2/4096 large=2/8192 xlarge=4/16384 2xlarge=8/32768
t3a nano=2/512 micro=2/1024 small=2/2048 medium=2/4096 large=2/8192 xlarge=4/16384 2xlarge=8/32768
c4  large=2/3840 xlarge=4/7680 2xlarge=8/15360 4xlarge=16/30720 8xlarge=36/61440
t1  micro=1/627
m1  small=1/1740 medium=1/3788 large=2/7680 xlarge=4/15360
"""

# family: GiB for each virtual CPU; sizes. A size says its CPUs: medium 1, large 2, xlarge 4, Nxlarge 4 N.
_REGULAR = """
m4       4 large xlarge 2xlarge 4xlarge 10xlarge 16xlarge
m5       4 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge
m5a      4 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge
m6i      4 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge
m6a      4 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge
m7i      4 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge
m7i-flex 4 large xlarge 2xlarge 4xlarge 8xlarge
m7a      4 medium large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge
c5       2 large xlarge 2xlarge 4xlarge 9xlarge 12xlarge 18xlarge 24xlarge
c5a      2 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge
c6i      2 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge
c6a      2 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge
c7i      2 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge
c7i-flex 2 large xlarge 2xlarge 4xlarge 8xlarge
c7a      2 medium large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge
r5       8 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge
r5a      8 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge
r6i      8 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge
r6a      8 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge
r7i      8 large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge
r7a      8 medium large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge
"""

_SIZE_VCPUS = {"medium": 1, "large": 2, "xlarge": 4}


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """One type. ``memory_mib`` is what the guest's memory is made of."""

    name: str
    vcpus: int
    memory_mib: int

    @property
    def family(self) -> str:
        """The part before the dot."""
        return self.name.partition(".")[0]

    @property
    def is_current_generation(self) -> bool:
        """Whether EC2 still counts it among its current types."""
        return self.family not in _PREVIOUS_GENERATIONS

    @property
    def is_free_tier(self) -> bool:
        """Whether EC2's free tier covers it; clients choose small types by it."""
        return self.name in _FREE_TIER


def get_instance_type(name: str) -> InstanceType:
    """Return the type that RunInstances and ModifyInstanceAttribute name, or refuse as they do."""
    found = INSTANCE_TYPES.get(name)
    if found is None:
        raise ApiError("InvalidParameterValue", f"Invalid value '{name[:64]}' for InstanceType.")
    return found


def select_types(names: Iterable[str] = ()) -> list[InstanceType]:
    """Return all types, or exactly those named; InvalidInstanceType tells which do not exist."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return list(INSTANCE_TYPES.values())
    unknown = [name[:64] for name in wanted if name not in INSTANCE_TYPES]
    if unknown:
        raise ApiError(
            "InvalidInstanceType",
            f"The following supplied instance types do not exist: [{', '.join(unknown)}]",
        )
    return [INSTANCE_TYPES[name] for name in wanted]


def _irregular_types() -> Iterator[InstanceType]:
    for line in _IRREGULAR.strip().splitlines():
        family, *sizes = line.split()
        for size in sizes:
            name, _, figures = size.partition("=")
            vcpus, memory_mib = figures.split("/")
            yield InstanceType(name=f"{family}.{name}", vcpus=int(vcpus), memory_mib=int(memory_mib))


def _regular_types() -> Iterator[InstanceType]:
    for line in _REGULAR.strip().splitlines():
        family, gib_per_vcpu, *sizes = line.split()
        for size in sizes:
            vcpus = _SIZE_VCPUS.get(size) or 4 * int(size.removesuffix("xlarge"))
            yield InstanceType(name=f"{family}.{size}", vcpus=vcpus, memory_mib=int(gib_per_vcpu) * 1024 * vcpus)


INSTANCE_TYPES = {each.name: each for each in (*_irregular_types(), *_regular_types())}

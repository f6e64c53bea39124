"""The machine's command line, word for word."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bakehouse.hypervisor.command_line import (
    accelerator_args,
    board_args,
    command_line,
    console_args,
    control_args,
    disk_args,
    firmware_args,
    identity_args,
    nic_args,
    place,
    port_args,
    process_args,
)
from bakehouse.hypervisor.firmware import UefiFirmware
from bakehouse.hypervisor.spec import SLOT_COUNT, Accelerator, BootMode, DiskSpec, MachineSpec, NicSpec
from bakehouse.paths import InstanceDirectory

FILES = InstanceDirectory(root=Path("/state/instances/i-0123456789abcdef0"))
DISK = DiskSpec(
    volume_id="vol-0123456789abcdef0",
    overlay=Path("/state/volumes/vol-0123456789abcdef0/disk.qcow2"),
    base=Path("/state/bases/snap-0123456789abcdef0.raw"),
    serial="vol0123456789abcdef0",
    slot=0,
    is_boot=True,
)
NIC = NicSpec(interface_id="eni-0123456789abcdef0", mac="02:00:00:00:00:0a", slot=1)
SPEC = MachineSpec(
    instance_id="i-0123456789abcdef0",
    uuid="ec2a1b2c-1111-2222-3333-444455556666",
    instance_type="t3.micro",
    vcpus=2,
    memory_mib=1024,
    accelerator=Accelerator.TCG,
    boot_mode=BootMode.LEGACY_BIOS,
    disks=(DISK,),
    nics=(NIC,),
    uid=1_900_000_001,
)


def test_the_process_is_sandboxed_and_has_no_default_devices() -> None:
    assert process_args(SPEC, FILES) == [
        *("-name", "i-0123456789abcdef0,debug-threads=on"),
        *("-pidfile", "/state/instances/i-0123456789abcdef0/qemu.pid"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-msg", "timestamp=on"),
        *("-nodefaults", "-no-user-config", "-display", "none"),
    ]


def test_the_board_has_the_processors_and_the_memory_of_the_type() -> None:
    assert board_args(SPEC) == [
        *("-machine", "q35,memory-backend=ram,vmport=off,sata=off,usb=off,smm=off"),
        *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"),
        *("-smp", "2,sockets=1,cores=2,threads=1"),
        *("-m", "1024M"),
        *("-object", '{"qom-type": "memory-backend-ram", "id": "ram", "size": 1073741824}'),
        *("-rtc", "base=utc"),
        *("-boot", "menu=off,strict=on"),
        *("-object", "rng-builtin,id=rng"),
        *("-device", "virtio-rng-pci,rng=rng,bus=pcie.0,addr=0x3"),
    ]


def test_kvm_gives_the_hosts_processor() -> None:
    assert accelerator_args(Accelerator.KVM) == ["-accel", "kvm", "-cpu", "host"]


def test_the_identity_is_what_cloud_init_looks_for_on_ec2() -> None:
    assert identity_args(SPEC) == [
        *("-uuid", "ec2a1b2c-1111-2222-3333-444455556666"),
        *("-smbios", "type=0,vendor=Amazon EC2,version=1.0"),
        *(
            "-smbios",
            (
                "type=1,manufacturer=Amazon EC2,product=t3.micro,"
                "serial=ec2a1b2c-1111-2222-3333-444455556666,uuid=ec2a1b2c-1111-2222-3333-444455556666"
            ),
        ),
        *("-smbios", "type=2,manufacturer=Amazon EC2,asset=i-0123456789abcdef0"),
        *("-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2"),
        *("-device", "vmgenid,guid=auto"),
    ]


def test_the_control_socket_does_not_wait_for_a_client() -> None:
    assert control_args(FILES) == [
        *("-chardev", "socket,id=qmp,path=/state/instances/i-0123456789abcdef0/qmp.sock,server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
    ]


def test_a_comma_in_a_path_is_doubled() -> None:
    words = console_args(InstanceDirectory(root=Path("/a,b")))
    assert words[1] == "file,id=console,path=/a,,b/serial.log,append=on"


def test_there_are_four_root_ports_and_a_bridge() -> None:
    words = port_args()
    assert len(words) == 10
    assert words[1] == "pcie-root-port,id=port0,bus=pcie.0,chassis=1,io-reserve=0,addr=0x10.0,multifunction=on"
    assert words[7] == "pcie-root-port,id=port3,bus=pcie.0,chassis=4,io-reserve=0,addr=0x10.3"
    assert words[9] == "pcie-pci-bridge,id=bridge0,bus=pcie.0,addr=0x11"


def test_every_slot_is_a_place_of_its_own() -> None:
    assert place(3) == {"bus": "port3"}
    assert place(4) == {"bus": "bridge0", "addr": "0x1", "disable-legacy": "on"}
    places = [tuple(place(slot).items()) for slot in range(SLOT_COUNT)]
    assert len(set(places)) == SLOT_COUNT
    assert int(place(SLOT_COUNT - 1)["addr"], 16) < 32


def test_a_disk_is_an_overlay_over_a_descriptor() -> None:
    words = disk_args(DISK, base_fd=4)
    assert words[:2] == ["-add-fd", "fd=4,set=4"]
    assert json.loads(words[3]) == {
        "node-name": "vol-0123456789abcdef0",
        "driver": "qcow2",
        "discard": "unmap",
        "file": {
            "driver": "file",
            "filename": "/state/volumes/vol-0123456789abcdef0/disk.qcow2",
            "discard": "unmap",
        },
        "backing": {
            "driver": "raw",
            "read-only": True,
            "file": {"driver": "file", "filename": "/dev/fdset/4", "read-only": True},
        },
    }
    assert json.loads(words[5]) == {
        "driver": "virtio-blk-pci",
        "id": "disk-vol-0123456789abcdef0",
        "bus": "port0",
        "drive": "vol-0123456789abcdef0",
        "serial": "vol0123456789abcdef0",
        "werror": "enospc",
        "rerror": "report",
        "bootindex": 0,
    }


def test_a_disk_without_a_base_never_opens_what_its_header_names() -> None:
    words = disk_args(replace(DISK, base=None, is_boot=False), base_fd=None)
    assert json.loads(words[1])["backing"] is None
    assert "bootindex" not in json.loads(words[3])


def test_an_interface_uses_the_tap_it_is_given_and_boots_nothing() -> None:
    words = nic_args(NIC, tap_fd=3)
    assert words[:2] == ["-netdev", "tap,id=tap-eni-0123456789abcdef0,fd=3,vhost=off"]
    assert json.loads(words[3]) == {
        "driver": "virtio-net-pci",
        "id": "nic-eni-0123456789abcdef0",
        "bus": "port1",
        "netdev": "tap-eni-0123456789abcdef0",
        "mac": "02:00:00:00:00:0a",
        "romfile": "",
    }


def test_uefi_has_shared_code_and_variables_of_its_own() -> None:
    firmware = UefiFirmware(code=Path("/share/CODE.fd"), variables_template=Path("/share/VARS.fd"))
    words = firmware_args(FILES, firmware)
    assert json.loads(words[1]) == {
        "driver": "raw",
        "node-name": "uefi-code",
        "read-only": True,
        "file": {"driver": "file", "filename": "/share/CODE.fd"},
    }
    assert json.loads(words[3])["file"]["filename"] == "/state/instances/i-0123456789abcdef0/uefi-vars.fd"
    assert words[4:] == ["-machine", "pflash0=uefi-code,pflash1=uefi-vars"]
    assert firmware_args(FILES, None) == []


def test_the_whole_line_is_the_sum_of_its_parts() -> None:
    words = command_line(
        SPEC,
        FILES,
        base_fds={DISK.volume_id: 4},
        tap_fds={NIC.interface_id: 3},
        firmware=None,
    )
    assert words[0] == "qemu-system-x86_64"
    assert words[-10:] == [*disk_args(DISK, base_fd=4), *nic_args(NIC, tap_fd=3)]
    assert words.count("-device") == 1 + 1 + 2 + 2 + 4 + 1 + 1 + 1


def test_a_spec_survives_its_json() -> None:
    spec = replace(SPEC, disks=(DISK, replace(DISK, volume_id="vol-1", base=None, slot=9)))
    assert MachineSpec.from_json(spec.to_json()) == spec


def test_two_devices_in_one_slot_are_refused() -> None:
    with pytest.raises(ValueError, match="one slot"):
        replace(SPEC, nics=(replace(NIC, slot=0),))


@pytest.mark.parametrize("change", [{"slot": 24}, {"slot": -1}, {"serial": ""}, {"serial": "x" * 21}])
def test_a_disk_that_does_not_fit_virtio_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"slot|serial"):
        replace(DISK, **change)  # type: ignore[arg-type]  # each case changes one field

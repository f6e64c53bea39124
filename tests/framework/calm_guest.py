"""A guest of one sector that costs next to nothing: it counts on its disk at every tick of the clock, and else sleeps.

At each tick (18 a second): n += 1, and n is written (32 bits, little-endian) to sector 1 of every disk the BIOS
knows. Every 4 counts a dot goes to the serial port, and devices that are to be unplugged are let go (through the
ACPI hot-plug registers of QEMU's q35). It shuts down, with an "S", when the power button is pressed.

Assembled from (GNU as, 16-bit, at 0x7c00):

    .code16
    start:
      cli
      xorw %ax,%ax
      movw %ax,%ds
      movw %ax,%es
      movw %ax,%ss
      movw $0x7c00,%sp
      sti
      movw $0x602,%dx
      movw $0x100,%ax
      outw %ax,%dx
      movl $0,0x8000
    next:
      hlt
      movw $0x600,%dx
      inw %dx,%ax
      testb $1,%ah
      jnz off
      incl 0x8000
      movb $0x80,%dl
    disk:
      movw $dap,%si
      movw $0x4300,%ax
      int $0x13
      jc last
      incb %dl
      jmp disk
    last:
      testb $3,0x8000
      jnz next
      movb $'.',%al
      call say
      xorl %ecx,%ecx
    port:
      movw $0xcd0,%dx
      movl %ecx,%eax
      outl %eax,%dx
      movw $0xcc4,%dx
      inl %dx,%eax
      testl %eax,%eax
      jz stays
      movw $0xcc8,%dx
      outl %eax,%dx
    stays:
      incw %cx
      cmpw $32,%cx
      jb port
      jmp next
    off:
      movw $0x100,%ax
      outw %ax,%dx
      movb $'S',%al
      call say
      movw $0x604,%dx
      movw $0x2000,%ax
      outw %ax,%dx
    halt:
      hlt
      jmp halt
    say:
      movw $0x3f8,%dx
      outb %al,%dx
      ret
    .align 4
    dap: .byte 16,0
      .word 1
      .word 0x8000,0
      .quad 1
    .org 510
    .word 0xaa55
"""

from pathlib import Path

COUNT_OFFSET = 512
DISK_BYTES = 4 << 20

_CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfbba0206b80001ef66c706008000000000f4ba0006edf6c401754366ff060080b280be847cb80043cd1372"
    "04fec2ebf2f60600800375dab02ee835006631c9bad00c6689c866efbac40c66ed6685c07405bac80c66ef4183f92072e3ebb3b80001ef"
    "b053e80a00ba0406b80020eff4ebfdbaf803eec3669010000100008000000100000000000000"
)
BOOT_SECTOR = _CODE.ljust(510, b"\0") + b"\x55\xaa"

# cli; hlt: nothing wakes this one, so the power button does nothing.
DEAF_BOOT_SECTOR = b"\xfa\xf4\xeb\xfc".ljust(510, b"\0") + b"\x55\xaa"


def write_disk(path: Path) -> None:
    """Write the guest's disk, raw; some of it is filled, so that a capture has blocks to store."""
    with path.open("wb") as file:
        file.write(BOOT_SECTOR)
        file.seek(1 << 20)
        file.write(b"calm guest\n" * (1 << 16))
        file.truncate(DISK_BYTES)

"""A guest of one sector: it counts on two disks, and shuts down when the power button is pressed.

For ever: n += 1; for each of the first two BIOS disks, one after the other: write n (32 bits, little-endian)
to sector 1, then to sector 128 * (1 + n % 256). So the two disks never differ by more than one, and every
write to the first disk is complete before the same count is written to the second. A dot on the serial port
every 16 counts, "S" before it shuts down, "F" when no disk is left.

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
      movb $0x81,last
    next:
      movw $0x600,%dx
      inw %dx,%ax
      testb $1,%ah
      jnz off
      incl 0x8000
      movb $0x80,%dl
    disk:
      movl $1,dap+8
      call put
      jc gone
      movl 0x8000,%eax
      andl $255,%eax
      incl %eax
      shll $7,%eax
      movl %eax,dap+8
      call put
      jc gone
      incb %dl
      cmpb last,%dl
      jbe disk
      testb $0x0f,0x8000
      jnz next
      movb $'.',%al
      call say
      jmp next
    gone:
      decb %dl
      movb %dl,last
      cmpb $0x80,%dl
      jae next
      movb $'F',%al
      call say
    halt:
      hlt
      jmp halt
    off:
      movw $0x100,%ax
      outw %ax,%dx
      movb $'S',%al
      call say
      movw $0x604,%dx
      movw $0x2000,%ax
      outw %ax,%dx
      jmp halt
    say:
      pushw %dx
      movw $0x3f8,%dx
      outb %al,%dx
      popw %dx
      ret
    put:
      movw $dap,%si
      movw $0x4300,%ax
      int $0x13
      ret
    last: .byte 0
    .align 4
    dap: .byte 16,0
      .word 1
      .word 0x8000,0
      .quad 0
    .org 510
    .word 0xaa55
"""

TRAIL_SLOTS = 256
TRAIL_STRIDE_BYTES = 65536
COUNT_OFFSET = 512
DISK_BYTES = 32 << 20  # room for the trail and some more

_CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfbba0206b80001ef66c706008000000000c606a47c81ba0006ed"
    "f6c401755766ff060080b28066c706b07c01000000e85d00722f66a100806625ff0000006640"
    "66c1e00766a3b07ce844007216fec23a16a47c76d1f60600800f75bab02ee82700ebb3feca88"
    "16a47c80fa8073a8b046e81500f4ebfdb80001efb053e80900ba0406b80020efebeb52baf803"
    "ee5ac3bea87cb80043cd13c3008d7400100001000080"
)
BOOT_SECTOR = _CODE.ljust(510, b"\0") + b"\x55\xaa"


def trail_offset(slot: int) -> int:
    """Where the counts n with n % 256 == slot are written."""
    return TRAIL_STRIDE_BYTES * (1 + slot)


def last_count_in_slot(slot: int, count: int) -> int:
    """What stands in a slot of the trail once ``count`` is written there or elsewhere; 0: nothing yet."""
    latest = count - (count - slot) % TRAIL_SLOTS
    return max(latest, 0)

"""A guest of one sector that uses what a kernel needs before anything else works.

It leaves the firmware for long mode with paging, installs an interrupt table, starts the local APIC's timer,
halts until it has ticked 20 times with a CPUID after each, and writes 0x31 to I/O port 0xf4. With QEMU's
isa-debug-exit there, QEMU exits with SUCCESS_EXIT_CODE. Where KVM is present but broken, it never gets there.

Assembled from (GNU as, at 0x7c00):

    .code16
      cli
      xorw %ax,%ax
      movw %ax,%ds
      movw %ax,%es
      movw %ax,%ss
      movw $0x7c00,%sp
      movw $0x1000,%di          # page tables: 0x1000 PML4, 0x2000 PDPT, 0x3000 first GiB, 0x4000 fourth GiB
      xorl %eax,%eax
      movw $0x1000,%cx
      cld
      rep stosl
      movl $0x2003,0x1000
      movl $0x3003,0x2000
      movl $0x4003,0x2018
      movl $0x83,0x3000         # the first 2 MiB, mapped to themselves
      movl $0xfee00093,0x4fb8   # the local APIC, uncached
      movb $0xff,%al            # both old interrupt controllers masked
      outb %al,$0x21
      outb %al,$0xa1
      movl $0xa0,%eax           # PAE and PGE
      movl %eax,%cr4
      movl $0x1000,%eax
      movl %eax,%cr3
      movl $0xc0000080,%ecx     # EFER.LME
      rdmsr
      orl $0x100,%eax
      wrmsr
      movl %cr0,%eax
      orl $0x80000001,%eax      # paging and protection at once: long mode
      movl %eax,%cr0
      lgdt gdt_pointer
      ljmp $8,$long
    .align 8
    gdt:
      .quad 0
      .quad 0x00209a0000000000
      .quad 0x0000920000000000
    gdt_pointer:
      .word 23
      .long gdt
    idt_pointer:
      .word 0x20f
      .quad 0x5000
    .code64
    long:
      movl $16,%eax
      mov %eax,%ds
      mov %eax,%es
      mov %eax,%ss
      movl $0x7c00,%esp
      xorl %r15d,%r15d
      movl $0x5200,%edi         # gate 0x20 of the table at 0x5000
      movl $tick,%eax
      movw %ax,(%rdi)
      movl $8,%ecx
      movw %cx,2(%rdi)
      movw $0x8e00,4(%rdi)
      shrl $16,%eax
      movl %eax,6(%rdi)
      movw $0,10(%rdi)
      movl $0,8(%rdi)
      lidt idt_pointer
      movl $0xfee00000,%esi
      movl $0x1ff,0xf0(%rsi)    # the APIC on
      movl $0x20020,0x320(%rsi) # its timer periodic, vector 0x20
      movl $0xb,0x3e0(%rsi)
      movl $100000,0x380(%rsi)
      sti
    wait:
      hlt
      xorl %eax,%eax
      cpuid
      cmpl $20,%r15d
      jb wait
      movl $0xf4,%edx
      movb $0x31,%al
      outb %al,%dx
      jmp wait
    tick:
      incl %r15d
      movl $0,0xb0(%rsi)
      iretq
    .org 510
    .word 0xaa55
"""

EXIT_PORT = 0xF4
SUCCESS_EXIT_CODE = 0x31 << 1 | 1

_CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cbf00106631c0b90010fc66f3ab66c70600100320000066c70600"
    "200330000066c70618200340000066c70600308300000066c706b84f9300e0feb0ffe621e6a1"
    "66b8a00000000f22e066b8001000000f22d866b9800000c00f32660d000100000f300f20c066"
    "0d010000800f22c00f0116a07ceab07c08000f1f4000000000000000000000000000009a2000"
    "00000000009200001700887c00000f020050000000000000b8100000008ed88ec08ed0bc007c"
    "00004531ffbf00520000b83d7d0000668907b90800000066894f0266c74704008ec1e8108947"
    "0666c7470a0000c74708000000000f011c25a67c0000be0000e0fec786f0000000ff010000c7"
    "862003000020000200c786e00300000b000000c78680030000a0860100fbf431c00fa24183ff"
    "1472f5baf4000000b031eeebeb41ffc7c786b00000000000000048cf"
)
BOOT_SECTOR = _CODE.ljust(510, b"\0") + b"\x55\xaa"

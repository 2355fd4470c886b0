// Narrow loads from flash, and stores into IRAM, as the chip answers them.
//
// These vectors make of an access to the mirror of flash and IRAM (libmain.inc) what the chip raises there, and leave the rest to the
// vectors under test: the exception, its PC and PS, and the registers are the core's own. Or, with `mirror_by_tables`, they go on as the
// vectors of the chip's vendor libraries do, by the address that the ROM's table has for the cause.

#include "../../xtensa-lx-rt/asm/libmain.inc"

    .section .iram.mirror_vectors, "ax"
    .balign 256
    .global mirror_vectors
mirror_vectors:
    .org 0x10
    j       _DebugExceptionVector
    .org 0x20
    j       _NMIExceptionVector
    .org 0x30
    j       _KernelExceptionVector
    .org 0x50
    wsr.excsave2 a0
    j       mirror
    .org 0x70
    j       _DoubleExceptionVector
    .org 0x80

    .section .bss.mirror_by_tables, "aw", @nobits
    .align 4
    .global mirror_by_tables
mirror_by_tables:
    .space 4

    .section .iram.mirror, "ax"
    .literal_position
    .align 4
mirror:
    flash_of_mirror 1f
    movi    a0, mirror_by_tables
    l32i    a0, a0, 0
    beqz    a0, 1f
    rsr.excsave2 a0
    wsr.excsave1 a0
    hand_on_by_table
1:  rsr.excsave2 a0
    j       _UserExceptionVector

// fn run_with(registers: *mut [u32; 17], code: *const u8, ps: u32)
//
// Runs the code, which ends with a jump to `captured`, with a0 to a15 and SAR from `registers`, and puts there what it leaves in
// them. It needs no register of its own, nor a stack.
    .section .bss.run_with, "aw", @nobits
    .align 4
kept:
    .space 4 * 9
    .set KEPT_PS, 4 * 6
    .set KEPT_REGISTERS, 4 * 7
    .set KEPT_A2, 4 * 8

    .section .text.run_with, "ax"
    .literal_position
    .align 4
    .global run_with
    .type run_with, @function
run_with:
    rsil    a5, 15
    movi    a6, kept
    s32i    a0, a6, 4 * 0
    s32i    a1, a6, 4 * 1
    s32i    a12, a6, 4 * 2
    s32i    a13, a6, 4 * 3
    s32i    a14, a6, 4 * 4
    s32i    a15, a6, 4 * 5
    s32i    a5, a6, KEPT_PS
    s32i    a2, a6, KEPT_REGISTERS
    wsr.epc2 a3
    wsr.eps2 a4
    l32i    a3, a2, 4 * 16
    wsr.sar a3
    .irp    n, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 2
    l32i    a\n, a2, 4 * \n
    .endr
    rfi     2

captured:
    wsr.excsave3 a0
    rsil    a0, 15
    movi    a0, kept
    s32i    a2, a0, KEPT_A2
    l32i    a2, a0, KEPT_REGISTERS
    .irp    n, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    s32i    a\n, a2, 4 * \n
    .endr
    rsr.excsave3 a3
    s32i    a3, a2, 4 * 0
    l32i    a3, a0, KEPT_A2
    s32i    a3, a2, 4 * 2
    rsr.sar a3
    s32i    a3, a2, 4 * 16
    l32i    a1, a0, 4 * 1
    l32i    a12, a0, 4 * 2
    l32i    a13, a0, 4 * 3
    l32i    a14, a0, 4 * 4
    l32i    a15, a0, 4 * 5
    l32i    a3, a0, KEPT_PS
    l32i    a0, a0, 4 * 0
    wsr.ps  a3
    rsync
    ret

// ACCESSES: for each of the three loads and two stores, each place in a word, with a3 and then with the register itself as the base, each
// register that is loaded or stored; two bytes ahead of the base.
    .macro access instruction place register base
    .balign 4
    .skip   \place
    .pushsection .rodata.accesses
    .word   1f
    .popsection
1:  \instruction a\register, a\base, 2
    j       captured
    .endm

    .macro accesses instruction place
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    access  \instruction, \place, \n, 3
    .endr
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    access  \instruction, \place, \n, \n
    .endr
    .endm

    .section .rodata.accesses, "a"
    .align 4
    .global ACCESSES
ACCESSES:
    .section .text.run_with
    .begin  no-transform
    .irp    place, 0, 1, 2, 3
    accesses l8ui, \place
    .endr
    .irp    place, 0, 1, 2, 3
    accesses l16ui, \place
    .endr
    .irp    place, 0, 1, 2, 3
    accesses l16si, \place
    .endr
    .irp    place, 0, 1, 2, 3
    accesses s8i, \place
    .endr
    .irp    place, 0, 1, 2, 3
    accesses s16i, \place
    .endr

// REFUSED: what is no narrow access, or none where those are done. The address is in a4.
    .macro refused instruction:vararg
    .balign 4
    .pushsection .rodata.refused
    .word   1f
    .popsection
1:  \instruction
    j       captured
    .endm

    .section .rodata.refused, "a"
    .align 4
    .global REFUSED
REFUSED:
    .section .text.run_with
    refused l8ui a5, a4, 0
    refused l16ui a5, a4, 0
    refused l32i a5, a4, 0
    refused l32i.n a5, a4, 0
    refused s8i a5, a4, 0
    refused s16i a5, a4, 0
    refused s32i a5, a4, 0
    .end    no-transform

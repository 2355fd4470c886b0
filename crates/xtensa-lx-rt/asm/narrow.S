// Narrow loads and stores where the chip loads and stores only whole words.
//
// IRAM, ROM and mapped flash answer l8ui, l16ui and l16si with LoadStoreError, and IRAM s8i and s16i. Here the word is loaded, and its part
// put into the register that was asked for, so that constants may lie in flash; or replaced by what was to be stored, so that variables may
// lie in IRAM. A load takes 50 to 54 instructions, a store 73 or 77; what is read or written often is better done by words.

    .set REGION_SHIFT, 20              // address bits above: a megabyte each of ROM, IRAM and flash
    .set REGION_FIRST, 0x400
    .set REGIONS, 3

    .set IRAM_SHIFT, 15                // its 32 KiB at 0x40100000
    .set IRAM, 0x8020

    .set OP0_LSAI, 2                   // bits 0 to 3 of loads and stores; then t, s, r with 4 bits each, imm8 with 8
    .set R_L8UI, 0
    .set R_L16UI, 1
    .set R_S8I, 4
    .set R_S16I, 5
    .set R_L16SI, 9

// Where registers wait. One place is enough: interrupts are held back until `rfe`, and nothing here raises an exception. Only
// the NMI is not; its handler must not read narrowly what lies in flash.
    .section .bss.xtensa_lx_rt_narrow_load, "aw", @nobits
    .align 4
    .type xtensa_lx_rt_narrow_load_saved, @object
    .size xtensa_lx_rt_narrow_load_saved, 4 * 6
xtensa_lx_rt_narrow_load_saved:
    .space 4 * 6
    .set SAVED_SAR, 4 * 5

    .section .iram.narrow_load, "ax"
    .literal_position

// The vector's continuation: a0 is in EXCSAVE1.
    .align 4
    .global xtensa_lx_rt_narrow_load
    .type xtensa_lx_rt_narrow_load, @function
xtensa_lx_rt_narrow_load:
    movi    a0, xtensa_lx_rt_narrow_load_saved
    s32i    a2, a0, 4 * 2
    s32i    a3, a0, 4 * 3
    s32i    a4, a0, 4 * 4
    rsr.sar a2
    s32i    a2, a0, SAVED_SAR

    rsr.excvaddr a2
    extui   a2, a2, REGION_SHIFT, 32 - REGION_SHIFT
    addmi   a2, a2, -REGION_FIRST
    bgeui   a2, REGIONS, .Lrefuse

    // The instruction, into the low 24 bits of a3. It lies where only words can be loaded, too.
    rsr.epc1 a2
    ssa8l   a2
    srli    a2, a2, 2
    slli    a2, a2, 2
    l32i    a3, a2, 0
    l32i    a4, a2, 4
    src     a3, a4, a3
    extui   a4, a3, 0, 4
    bnei    a4, OP0_LSAI, .Lrefuse

    // The word, shifted so that the part is at its low end.
    rsr.excvaddr a4
    ssa8l   a4
    srli    a2, a4, 2
    slli    a2, a2, 2
    l32i    a2, a2, 0
    srl     a2, a2

    bbsi    a3, 12, .Lhalfword         // l8ui and s8i have an even r
    extui   a4, a3, 12, 4
    bnez    a4, .Lno_l8ui
    extui   a2, a2, 0, 8
    j       .Lloaded
.Lhalfword:
    bbsi    a4, 0, .Lrefuse            // unaligned
    extui   a4, a3, 12, 4
    beqi    a4, R_L16UI, .Lunsigned
    addi    a4, a4, -R_L16SI
    bnez    a4, .Lno_l16si
    slli    a2, a2, 16
    srai    a2, a2, 16
    j       .Lloaded
.Lunsigned:
    extui   a2, a2, 0, 16

.Lloaded:
    rsr.epc1 a4
    addi    a4, a4, 3
    wsr.epc1 a4
    l32i    a4, a0, SAVED_SAR
    wsr.sar a4
    extui   a3, a3, 4, 4
    movi    a4, .Ldestinations
    addx8   a4, a3, a4
    jx      a4

// Puts a2 into the register. Eight bytes each; no shorter forms, which would move the next.
    .macro destination instruction:vararg
    .begin no-transform
    .align 8
    \instruction
    j       .Lrestore
    .end no-transform
    .endm

    .align 8
.Ldestinations:
    destination wsr.excsave1 a2
    destination or a1, a2, a2
    destination s32i a2, a0, 4 * 2
    destination s32i a2, a0, 4 * 3
    destination s32i a2, a0, 4 * 4
    destination or a5, a2, a2
    destination or a6, a2, a2
    destination or a7, a2, a2
    destination or a8, a2, a2
    destination or a9, a2, a2
    destination or a10, a2, a2
    destination or a11, a2, a2
    destination or a12, a2, a2
    destination or a13, a2, a2
    destination or a14, a2, a2
    destination or a15, a2, a2

.Lrestore:
    l32i    a4, a0, 4 * 4
    l32i    a3, a0, 4 * 3
    l32i    a2, a0, 4 * 2
    rsr.excsave1 a0
    rfe

.Lno_l8ui:
    addi    a4, a4, -R_S8I
    bnez    a4, .Lrefuse
    j       xtensa_lx_rt_narrow_store
.Lno_l16si:
    addi    a4, a4, R_L16SI - R_S16I
    bnez    a4, .Lrefuse

// Nothing but IRAM can be written by words.
    .global xtensa_lx_rt_narrow_store
xtensa_lx_rt_narrow_store:
    rsr.excvaddr a4
    srli    a2, a4, IRAM_SHIFT
    addmi   a2, a2, -(IRAM & ~0xff)
    addi    a2, a2, -(IRAM & 0xff)
    bnez    a2, .Lrefuse

    extui   a2, a3, 4, 4
    movi    a4, .Lsources
    addx8   a4, a2, a4
    jx      a4

// Puts the register into a2.
    .macro source instruction:vararg
    .begin no-transform
    .align 8
    \instruction
    j       .Lstore
    .end no-transform
    .endm

    .align 8
.Lsources:
    source rsr.excsave1 a2
    source or a2, a1, a1
    source l32i a2, a0, 4 * 2
    source l32i a2, a0, 4 * 3
    source l32i a2, a0, 4 * 4
    source or a2, a5, a5
    source or a2, a6, a6
    source or a2, a7, a7
    source or a2, a8, a8
    source or a2, a9, a9
    source or a2, a10, a10
    source or a2, a11, a11
    source or a2, a12, a12
    source or a2, a13, a13
    source or a2, a14, a14
    source or a2, a15, a15

.Lstore:
    movi    a4, 0xff
    bbci    a3, 12, 1f
    movi    a4, -1
    extui   a4, a4, 0, 16
1:  and     a2, a2, a4
    mov     a3, a4

    // The word's other parts stay.
    rsr.excvaddr a4
    ssa8b   a4
    sll     a2, a2
    sll     a3, a3
    srli    a4, a4, 2
    slli    a4, a4, 2
    l32i    a0, a4, 0
    or      a0, a0, a3
    xor     a0, a0, a3
    or      a0, a0, a2
    s32i    a0, a4, 0
    movi    a0, xtensa_lx_rt_narrow_load_saved

    rsr.epc1 a4
    addi    a4, a4, 3
    wsr.epc1 a4
    l32i    a4, a0, SAVED_SAR
    wsr.sar a4
    j       .Lrestore

// Something else: it is taken like any other exception.
.Lrefuse:
    l32i    a4, a0, SAVED_SAR
    wsr.sar a4
    l32i    a4, a0, 4 * 4
    l32i    a3, a0, 4 * 3
    l32i    a2, a0, 4 * 2
    rsr.excsave1 a0
    j       xtensa_lx_rt_take_exception

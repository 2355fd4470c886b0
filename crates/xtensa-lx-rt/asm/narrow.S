// Narrow loads from where the chip loads only whole words.
//
// IRAM, ROM and mapped flash answer l8ui, l16ui and l16si with LoadStoreError. Here the word is loaded and its part put into the
// register that was asked for, so that constants may lie in flash. It takes 50 to 54 instructions; what is read often is better read by words.

    .set REGION_SHIFT, 20              // address bits above: a megabyte each of ROM, IRAM and flash
    .set REGION_FIRST, 0x400
    .set REGIONS, 3

    .set OP0_LSAI, 2                   // bits 0 to 3 of loads and stores; then t, s, r with 4 bits each, imm8 with 8
    .set R_L8UI, 0
    .set R_L16UI, 1
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

    bbsi    a3, 12, .Lhalfword         // of the three, only l8ui has an even r
    extui   a4, a3, 12, 4
    bnez    a4, .Lrefuse
    extui   a2, a2, 0, 8
    j       .Lloaded
.Lhalfword:
    bbsi    a4, 0, .Lrefuse            // unaligned
    extui   a4, a3, 12, 4
    beqi    a4, R_L16UI, .Lunsigned
    addi    a4, a4, -R_L16SI
    bnez    a4, .Lrefuse
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

// Something else: it is taken like any other exception.
.Lrefuse:
    l32i    a4, a0, SAVED_SAR
    wsr.sar a4
    l32i    a4, a0, 4 * 4
    l32i    a3, a0, 4 * 3
    l32i    a2, a0, 4 * 2
    rsr.excsave1 a0
    j       xtensa_lx_rt_take_exception

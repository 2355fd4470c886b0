// fn hold_registers(flag: *const u32) -> u32
//
// Fills all registers, waits until `flag` is not 0, and returns a bit for each register that has changed (bit 16: SAR).

    .section .text.hold_registers, "ax"
    .global hold_registers
    .type hold_registers, @function
    .literal_position
    .align 4

    .macro check number
    addi    a2, a\number, -(40 + \number)
    beqz    a2, 1f
    movi    a2, 1
    slli    a2, a2, \number
    s32i    a3, sp, 24
    l32i    a3, sp, 20
    or      a3, a3, a2
    s32i    a3, sp, 20
    l32i    a3, sp, 24
1:
    .endm

hold_registers:
    addi    sp, sp, -32
    s32i    a0, sp, 0
    s32i    a12, sp, 4
    s32i    a13, sp, 8
    s32i    a14, sp, 12
    s32i    a15, sp, 16
    movi    a3, 0
    s32i    a3, sp, 20
    movi    a3, 13
    wsr.sar a3
    movi    a0, 40
    movi    a3, 43
    movi    a4, 44
    movi    a5, 45
    movi    a6, 46
    movi    a7, 47
    movi    a8, 48
    movi    a9, 49
    movi    a10, 50
    movi    a11, 51
    movi    a12, 52
    movi    a13, 53
    movi    a14, 54
    movi    a15, 55
    // a2 is held by the loop itself: with another value it would read elsewhere.
2:  s32i    a3, sp, 24
    l32i    a3, a2, 0
    bnez    a3, 3f
    l32i    a3, sp, 24
    j       2b
3:  l32i    a3, sp, 24
    check   0
    check   3
    check   4
    check   5
    check   6
    check   7
    check   8
    check   9
    check   10
    check   11
    check   12
    check   13
    check   14
    check   15
    l32i    a2, sp, 20
    rsr.sar a3
    addi    a3, a3, -13
    beqz    a3, 4f
    movi    a3, 1
    slli    a3, a3, 16
    or      a2, a2, a3
4:  l32i    a0, sp, 0
    l32i    a12, sp, 4
    l32i    a13, sp, 8
    l32i    a14, sp, 12
    l32i    a15, sp, 16
    addi    sp, sp, 32
    ret

// An illegal instruction at a known place, with known registers.
    .section .text.do_something_illegal, "ax"
    .global do_something_illegal
    .type do_something_illegal, @function
    .literal_position
    .align 4
do_something_illegal:
    movi    a4, 0x44444444
    movi    a15, 0xfffffabc
    ill
    ret

// An exception while the stack is nowhere: taking it fails too.
    .section .text.lose_the_stack, "ax"
    .global lose_the_stack
    .type lose_the_stack, @function
    .align 4
lose_the_stack:
    movi    sp, 16
    ill

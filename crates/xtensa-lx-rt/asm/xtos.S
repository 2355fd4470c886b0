// Narrow loads and stores where the vectors are those of a chip's vendor libraries, which hand exceptions on by the ROM's tables.
//
// The vector has put the stack pointer 256 lower, has stored a2, a3 and a4 there, and has jumped to the address that table has for
// the cause, with a0 as it was. narrow.S begins where nothing has happened but that a0 is in EXCSAVE1.

    .set FRAME, 256
    .set SAVED_A2, 20
    .set SAVED_A3, 24
    .set SAVED_A4, 28

    .section .iram.xtos, "ax"
    .literal_position

    .align 4
    .global xtensa_lx_rt_xtos_narrow_load
    .type xtensa_lx_rt_xtos_narrow_load, @function
xtensa_lx_rt_xtos_narrow_load:
    l32i    a2, sp, SAVED_A2
    l32i    a3, sp, SAVED_A3
    l32i    a4, sp, SAVED_A4
    addmi   sp, sp, FRAME
    wsr.excsave1 a0
    j       xtensa_lx_rt_narrow_load

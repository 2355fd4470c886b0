// What narrow.S refuses, where the vectors are those of a chip's vendor libraries: on to the handler in C, as the ROM's table would have
// it without xtos.S.

    .set FRAME, 256
    .set SAVED_A2, 20
    .set SAVED_A3, 24
    .set SAVED_A4, 28

    .section .iram.xtos_hand_on, "ax"
    .literal_position

    .align 4
    .global xtensa_lx_rt_take_exception
    .type xtensa_lx_rt_take_exception, @function
xtensa_lx_rt_take_exception:
    addmi   sp, sp, -FRAME
    s32i    a2, sp, SAVED_A2
    s32i    a3, sp, SAVED_A3
    s32i    a4, sp, SAVED_A4
    rsr.exccause a2
    movi    a3, _xtos_c_wrapper_handler
    jx      a3

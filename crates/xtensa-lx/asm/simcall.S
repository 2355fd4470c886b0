// A request to the emulator: number in a2, arguments in a3 to a5; result in a2, error number in a3: a u64 in the ABI.

    .section .text.xtensa_lx_simcall, "ax"
    .global xtensa_lx_simcall
    .type xtensa_lx_simcall, @function
    .align 4
xtensa_lx_simcall:
    simcall
    ret.n

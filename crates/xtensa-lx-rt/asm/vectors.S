// Exception and interrupt vectors of the lx106 for the call0 ABI.
//
// Offsets from VECBASE: the configuration of Espressif's lx106 core (core-isa.h, XCHAL_*_VECOFS).

// Context: the order of `exception::Context`.
    .set CTX_PC, 0
    .set CTX_PS, 4
    .set CTX_A0, 8
    .set CTX_SAR, 72
    .set CTX_EXCCAUSE, 76
    .set CTX_EXCVADDR, 80
    .set CTX_SIZE, 96                  // a multiple of 16, as the stack wants it

// A handler may be `fn(cause, Context)`, which owns the context it finds on the stack and may overwrite it. So there are two: the
// handler's at sp, and above it the one to return with.
    .set SAVED, CTX_SIZE

    .set PS_UM, 0x20
    .set PS_INTLEVEL_ALL, 0x0f
    .set CAUSE_LOAD_STORE_ERROR, 3
    .set CAUSE_LEVEL_1_INTERRUPT, 4

    .macro vector name offset target
    .org \offset
    .global \name
\name:
    addi    sp, sp, -CTX_SIZE
    addi    sp, sp, -CTX_SIZE
    s32i    a0, sp, SAVED + CTX_A0
    j       \target
    .endm

// As above, but a narrow load from flash, which may come once per byte of a text, or a narrow store into IRAM takes a short way (narrow.S).
    .macro exception_vector name offset
    .org \offset
    .global \name
\name:
    wsr.excsave1 a0
    rsr.exccause a0
    beqi    a0, CAUSE_LOAD_STORE_ERROR, 1f
    rsr.excsave1 a0
    addi    sp, sp, -CTX_SIZE
    addi    sp, sp, -CTX_SIZE
    s32i    a0, sp, SAVED + CTX_A0
    j       level1
1:  j       xtensa_lx_rt_narrow_load
    .endm

    .section .vectors, "ax"
    .align 4
    .org 0
    vector _DebugExceptionVector,  0x10, debug
    vector _NMIExceptionVector,    0x20, nmi
    exception_vector _KernelExceptionVector, 0x30
    exception_vector _UserExceptionVector,   0x50
    // The stack may be what has failed, so nothing is stored yet. There is no way back from here: the save registers of the
    // debug and NMI levels are free.
    .org 0x70
    .global _DoubleExceptionVector
_DoubleExceptionVector:
    wsr.excsave2 a0
    j       double
    .org 0x80

// Stores a register in both contexts.
    .macro keep register offset
    s32i    \register, sp, \offset
    s32i    \register, sp, SAVED + \offset
    .endm

    .macro save_context pc ps
    l32i    a0, sp, SAVED + CTX_A0
    s32i    a0, sp, CTX_A0
    keep    a2,  CTX_A0 + 4 * 2
    keep    a3,  CTX_A0 + 4 * 3
    keep    a4,  CTX_A0 + 4 * 4
    keep    a5,  CTX_A0 + 4 * 5
    keep    a6,  CTX_A0 + 4 * 6
    keep    a7,  CTX_A0 + 4 * 7
    keep    a8,  CTX_A0 + 4 * 8
    keep    a9,  CTX_A0 + 4 * 9
    keep    a10, CTX_A0 + 4 * 10
    keep    a11, CTX_A0 + 4 * 11
    keep    a12, CTX_A0 + 4 * 12
    keep    a13, CTX_A0 + 4 * 13
    keep    a14, CTX_A0 + 4 * 14
    keep    a15, CTX_A0 + 4 * 15
    addi    a2, sp, CTX_SIZE
    addi    a2, a2, CTX_SIZE
    keep    a2, CTX_A0 + 4 * 1
    rsr     a2, \pc
    keep    a2, CTX_PC
    rsr     a2, \ps
    keep    a2, CTX_PS
    rsr     a2, sar
    keep    a2, CTX_SAR
    rsr     a2, excvaddr
    s32i    a2, sp, CTX_EXCVADDR
    rsr     a2, exccause
    s32i    a2, sp, CTX_EXCCAUSE
    // All that another exception would overwrite is saved, so one in the handler is reported like any other. Interrupts
    // stay masked.
    movi    a0, PS_UM | PS_INTLEVEL_ALL
    wsr     a0, ps
    rsync
    mov     a3, sp                     // for handlers that take a reference
    .endm

    .macro restore_context pc ps
    l32i    a0, sp, SAVED + CTX_SAR
    wsr     a0, sar
    rsil    a0, 15
    l32i    a2, sp, SAVED + CTX_PS
    l32i    a3, sp, SAVED + CTX_PC
    .ifc \ps, ps
    wsr     a2, ps                     // sets PS.EXCM again, which `rfe` expects
    rsync
    .else
    // The level's own return puts this into PS.
    wsr     a2, \ps
    .endif
    wsr     a3, \pc
    l32i    a2,  sp, SAVED + CTX_A0 + 4 * 2
    l32i    a3,  sp, SAVED + CTX_A0 + 4 * 3
    l32i    a4,  sp, SAVED + CTX_A0 + 4 * 4
    l32i    a5,  sp, SAVED + CTX_A0 + 4 * 5
    l32i    a6,  sp, SAVED + CTX_A0 + 4 * 6
    l32i    a7,  sp, SAVED + CTX_A0 + 4 * 7
    l32i    a8,  sp, SAVED + CTX_A0 + 4 * 8
    l32i    a9,  sp, SAVED + CTX_A0 + 4 * 9
    l32i    a10, sp, SAVED + CTX_A0 + 4 * 10
    l32i    a11, sp, SAVED + CTX_A0 + 4 * 11
    l32i    a12, sp, SAVED + CTX_A0 + 4 * 12
    l32i    a13, sp, SAVED + CTX_A0 + 4 * 13
    l32i    a14, sp, SAVED + CTX_A0 + 4 * 14
    l32i    a15, sp, SAVED + CTX_A0 + 4 * 15
    l32i    a0,  sp, SAVED + CTX_A0
    addi    sp, sp, CTX_SIZE
    addi    sp, sp, CTX_SIZE
    .endm

    .section .iram.vectors, "ax"
    .literal_position

    // From narrow.S, for what it does not do; nothing has changed since the exception.
    .align 4
    .global xtensa_lx_rt_take_exception
xtensa_lx_rt_take_exception:
    addi    sp, sp, -CTX_SIZE
    addi    sp, sp, -CTX_SIZE
    s32i    a0, sp, SAVED + CTX_A0
    .type level1, @function
level1:
    save_context epc1, ps
    beqi    a2, CAUSE_LEVEL_1_INTERRUPT, 1f
    movi    a0, __exception
    callx0  a0
    j       2f
1:  movi    a2, 1                      // the level
    movi    a0, __level_1_interrupt
    callx0  a0
2:  restore_context epc1, ps
    rfe

    .align 4
    .type debug, @function
debug:
    save_context epc2, eps2
    movi    a0, __debug_exception
    callx0  a0
    restore_context epc2, eps2
    rfi     2

    .align 4
    .type nmi, @function
nmi:
    save_context epc3, eps3
    movi    a0, __nmi_exception
    callx0  a0
    restore_context epc3, eps3
    rfi     3

    .align 4
    .type double, @function
double:
    wsr.excsave3 sp
    // Nobody will need what lies there any more.
    movi    sp, _stack_end
    addi    sp, sp, -CTX_SIZE
    addi    sp, sp, -CTX_SIZE
    rsr.excsave2 a0
    s32i    a0, sp, SAVED + CTX_A0
    save_context depc, ps
    rsr.excsave3 a0
    s32i    a0, sp, CTX_A0 + 4 * 1
    movi    a0, __double_exception
    callx0  a0

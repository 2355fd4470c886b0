// Start-up, vectors, and the ROM's handlers behind its tables, for an image of the chip in the emulator.
//
// The frame that the vector begins is the ROM's: handlers in C get it.

#include "libmain.inc"

    .set FRAME, 256
    .set FRAME_PC, 0
    .set FRAME_PS, 4
    .set FRAME_SAR, 8
    .set FRAME_A0, 16
    .set FRAME_A2, 20                  // and so on to a15
    .set FRAME_EXCVADDR, 80            // not the ROM's: behind its own

    .set ROM_C_HANDLERS, 0x3fffc100    // the ROM's other table: handlers in C
    .set PS_MASKED, 0x2f

    .section .UserEnter.text, "ax"
    .global call_user_start
call_user_start:
    j       reset

    .macro stopped name section
    .section \section, "ax"
    .global \name
\name:
    wsr.excsave3 a0
    j       stop
    .endm

    stopped _DebugExceptionVector .DebugExceptionVector.text
    stopped _NMIExceptionVector .NMIExceptionVector.text
    stopped _KernelExceptionVector .KernelExceptionVector.text
    stopped _DoubleExceptionVector .DoubleExceptionVector.text

    .section .UserExceptionVector.text, "ax"
    .global _UserExceptionVector
_UserExceptionVector:
    wsr.excsave1 a0
    j       user

    .section .iram.libmain, "ax"
    .literal_position
    .align 4
reset:
    rsil    a2, 15
    movi    a2, 0
    wsr.intenable a2
    wsr.ccompare0 a2
    movi    a2, _vectors_start
    wsr.vecbase a2
    movi    sp, _stack_end
    movi    a2, PS_MASKED
    wsr.ps  a2
    rsync
    movi    a2, _bss_start
    movi    a3, _bss_end
    movi    a4, 0
1:  bgeu    a2, a3, 2f
    s32i    a4, a2, 0
    addi    a2, a2, 4
    j       1b
2:  movi    a0, stand_in_start
    callx0  a0

    .align 4
user:
    flash_of_mirror 1f
1:  rsr.excsave1 a0
    hand_on_by_table

// The chip would stop there, and its watchdog would reset it.
    .align 4
stop:
    movi    sp, _stack_end
    movi    a2, PS_MASKED
    wsr.ps  a2
    rsync
    rsr.exccause a2
    rsr.depc a3
    rsr.epc1 a4
    movi    a0, stand_in_stop
    callx0  a0

    .macro save_frame
    s32i    a0, sp, FRAME_A0
    .irp    n, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    s32i    a\n, sp, FRAME_A2 + 4 * (\n - 2)
    .endr
    rsr.epc1 a3
    s32i    a3, sp, FRAME_PC
    rsr.ps  a3
    s32i    a3, sp, FRAME_PS
    rsr.sar a3
    s32i    a3, sp, FRAME_SAR
    rsr.excvaddr a3
    s32i    a3, sp, FRAME_EXCVADDR
    movi    a0, PS_MASKED
    wsr.ps  a0
    rsync
    .endm

    .macro restore_frame
    rsil    a0, 15
    l32i    a3, sp, FRAME_SAR
    wsr.sar a3
    l32i    a3, sp, FRAME_PS           // with EXCM, which `rfe` expects
    l32i    a2, sp, FRAME_PC
    wsr.ps  a3
    rsync
    wsr.epc1 a2
    .irp    n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    l32i    a\n, sp, FRAME_A2 + 4 * (\n - 2)
    .endr
    l32i    a0, sp, FRAME_A0
    addmi   sp, sp, FRAME
    rfe
    .endm

// The ROM's, for causes whose handler is in C: it gets frame and cause.
    .align 4
    .global _xtos_c_wrapper_handler
    .type _xtos_c_wrapper_handler, @function
_xtos_c_wrapper_handler:
    save_frame
    movi    a4, ROM_C_HANDLERS
    addx4   a4, a2, a4
    l32i    a4, a4, 0
    mov     a3, a2
    mov     a2, sp
    callx0  a4
    restore_frame

// The ROM's for cause 4, an interrupt.
    .align 4
    .global stand_in_level_1
    .type stand_in_level_1, @function
stand_in_level_1:
    save_frame
    mov     a2, sp
    movi    a0, stand_in_interrupt
    callx0  a0
    restore_frame

// The first instructions of an image.

    .section .iram.start, "ax"
    .global _start
    .type _start, @function
    .literal_position
    .align 4
_start:
    // Nothing may interrupt until there are vectors and a stack.
    rsil    a2, 15
    movi    a2, 0
    wsr.intenable a2
    wsr.ccompare0 a2
    movi    a2, _vectors_start
    wsr.vecbase a2
    movi    sp, _stack_end
    // From here on only INTENABLE holds interrupts back. UM: exceptions take the user vector.
    movi    a2, 0x20
    wsr.ps  a2
    rsync
    movi    a0, Reset
    callx0  a0

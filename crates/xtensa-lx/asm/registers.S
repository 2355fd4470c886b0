// Special registers and the few instructions that Rust has no word for. call0 ABI: arguments and result in a2, a3 …

    .macro function name
    .section .text.\name, "ax"
    .global \name
    .type \name, @function
    .align 4
\name:
    .endm

// PS as it was; all interrupts are masked from here on.
    function xtensa_lx_mask_interrupts
    rsil    a2, 15
    ret.n

    function xtensa_lx_set_ps
    wsr.ps  a2
    rsync
    ret.n

    function xtensa_lx_get_ps
    rsr.ps  a2
    ret.n

// INTENABLE is read, changed and written in one go; the old value comes back.
    function xtensa_lx_swap_intenable
    xsr.intenable a2
    rsync
    ret.n

    function xtensa_lx_or_intenable
    rsil    a5, 15
    rsr.intenable a3
    or      a4, a3, a2
    wsr.intenable a4
    wsr.ps  a5
    rsync
    mov.n   a2, a3
    ret.n

    function xtensa_lx_and_intenable
    rsil    a5, 15
    rsr.intenable a3
    and     a4, a3, a2
    wsr.intenable a4
    wsr.ps  a5
    rsync
    mov.n   a2, a3
    ret.n

    function xtensa_lx_get_intenable
    rsr.intenable a2
    ret.n

    function xtensa_lx_get_interrupt
    rsr.interrupt a2
    ret.n

    function xtensa_lx_set_interrupt
    wsr.intset a2
    rsync
    ret.n

    function xtensa_lx_clear_interrupt
    wsr.intclear a2
    rsync
    ret.n

    function xtensa_lx_get_ccount
    rsr.ccount a2
    ret.n

    function xtensa_lx_get_ccompare0
    rsr.ccompare0 a2
    ret.n

    function xtensa_lx_set_ccompare0
    wsr.ccompare0 a2
    esync
    ret.n

    function xtensa_lx_set_vecbase
    wsr.vecbase a2
    isync
    ret.n

    function xtensa_lx_get_prid
    rsr.prid a2
    ret.n

    function xtensa_lx_get_sp
    mov.n   a2, sp
    ret.n

// Sleeps with all interrupts let in, and masks none on return.
    function xtensa_lx_wait
    waiti   0
    ret.n

    function xtensa_lx_break
    break   1, 15
    ret.n

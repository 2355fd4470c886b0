// What the compiler calls to copy, fill and compare. A source may lie in flash or IRAM, which the chip reads by words only, and a
// destination in IRAM, which it writes by words only; bit 30 of an address tells. Words are read whole, so up to three bytes in front of
// and behind what was asked for are read, too. In IRAM they are also written, as they were: nobody else may change them meanwhile, so
// what an interrupt writes does not lie there.

    .set INSTRUCTION_BUS, 30

    .macro function name
    .section .text.\name, "ax"
    .global \name
    .type \name, @function
    .align 4
\name:
    .endm

// \byte = the byte at \address, wherever it lies. Changes SAR.
    .macro load_byte byte address
    srli    \byte, \address, 2
    slli    \byte, \byte, 2
    l32i    \byte, \byte, 0
    ssa8l   \address
    srl     \byte, \byte
    extui   \byte, \byte, 0, 8
    .endm

// Puts the low byte of \byte at \address in IRAM. Changes SAR, \byte, \mask, \place and \word.
    .macro store_byte byte address mask place word
    ssa8b   \address
    movi    \mask, 0xff
    and     \byte, \byte, \mask
    sll     \byte, \byte
    sll     \mask, \mask
    srli    \place, \address, 2
    slli    \place, \place, 2
    l32i    \word, \place, 0
    or      \word, \word, \mask
    xor     \word, \word, \mask
    or      \word, \word, \byte
    s32i    \word, \place, 0
    .endm

// Calls what works on IRAM, and keeps a0 in a11 meanwhile.
    .macro in_iram routine
    mov     a11, a0
    call0   \routine
    mov     a0, a11
    .endm

// Copies from a3 to a5 until a5 is a8, both counting up; a8 is not a5. Changes a6; in IRAM also a4, a7, a10 and a11.
    .macro copy_bytes_up
    bbsi    a5, INSTRUCTION_BUS, .Lin_iram\@
    bbsi    a3, INSTRUCTION_BUS, .Lfrom_flash\@
.Lfrom_ram\@:
    l8ui    a6, a3, 0
    addi    a3, a3, 1
    s8i     a6, a5, 0
    addi    a5, a5, 1
    bne     a5, a8, .Lfrom_ram\@
    j       .Lcopied\@
.Lfrom_flash\@:
    load_byte a6 a3
    addi    a3, a3, 1
    s8i     a6, a5, 0
    addi    a5, a5, 1
    bne     a5, a8, .Lfrom_flash\@
    j       .Lcopied\@
.Lin_iram\@:
    in_iram .Lup_in_iram
.Lcopied\@:
    .endm

// The same counting down, from in front of a3 to in front of a5, within RAM or within IRAM.
    .macro copy_bytes_down
    bbsi    a5, INSTRUCTION_BUS, .Lin_iram\@
.Lin_ram\@:
    addi    a3, a3, -1
    l8ui    a6, a3, 0
    addi    a5, a5, -1
    s8i     a6, a5, 0
    bne     a5, a8, .Lin_ram\@
    j       .Lcopied\@
.Lin_iram\@:
    in_iram .Ldown_in_iram
.Lcopied\@:
    .endm

// Sets a6 to \from without its low two bits, and SAR for `src` on the words there.
    .macro funnel from
    ssa8l   \from
    srli    a6, \from, 2
    slli    a6, a6, 2
    .endm

// What the macros have for IRAM. Words are written at once where all of them is asked for.
    .section .text.in_iram, "ax"
    .align 4
.Lup_in_iram:
1:  extui   a7, a5, 0, 2
    bnez    a7, 2f
    sub     a7, a8, a5
    bltui   a7, 4, 2f
    funnel  a3
    l32i    a4, a6, 0
    extui   a7, a3, 0, 2
    beqz    a7, 3f
    l32i    a7, a6, 4
    src     a4, a7, a4
3:  s32i    a4, a5, 0
    addi    a3, a3, 4
    addi    a5, a5, 4
    bne     a5, a8, 1b
    ret
2:  load_byte a6 a3
    store_byte a6 a5 a7 a10 a4
    addi    a3, a3, 1
    addi    a5, a5, 1
    bne     a5, a8, 1b
    ret

    .align 4
.Ldown_in_iram:
1:  addi    a3, a3, -1
    addi    a5, a5, -1
    load_byte a6 a3
    store_byte a6 a5 a7 a10 a4
    bne     a5, a8, 1b
    ret

    .align 4
.Lfill_in_iram:
1:  mov     a6, a3
    store_byte a6 a5 a7 a10 a4
    addi    a5, a5, 1
    bne     a5, a8, 1b
    ret

// fn memmove(to: a2, from: a3, length: a4) -> to
    function memmove
    sub     a5, a2, a3
    bltu    a5, a4, 8f
    j       .Lcopy_up
    // `to` lies within the source, so both are in RAM or in IRAM, and the copying begins at its end.
8:  beqz    a5, 9f
    add     a5, a2, a4
    add     a3, a3, a4
    bltui   a4, 8, 5f
    extui   a7, a5, 0, 2
    beqz    a7, 2f
    sub     a8, a5, a7
    copy_bytes_down
2:  addi    a8, a2, 3                  // where the last whole word begins
    srli    a8, a8, 2
    slli    a8, a8, 2
    extui   a7, a3, 0, 2
    bnez    a7, 4f
    beq     a5, a8, 5f
3:  addi    a3, a3, -4
    l32i    a6, a3, 0
    addi    a5, a5, -4
    s32i    a6, a5, 0
    bne     a5, a8, 3b
    j       5f
4:  beq     a5, a8, 5f
    sub     a9, a5, a8
    sub     a3, a3, a9
    add     a9, a3, a9
    funnel  a9
    l32i    a7, a6, 0
6:  l32i    a10, a6, -4
    src     a7, a7, a10
    addi    a5, a5, -4
    s32i    a7, a5, 0
    mov     a7, a10
    addi    a6, a6, -4
    bne     a5, a8, 6b
5:  beq     a5, a2, 9f
    mov     a8, a2
    copy_bytes_down
9:  ret

// fn memcpy(to: a2, from: a3, length: a4) -> to
//
// Each byte is read before one behind it is written, so `to` may lie in front of an overlapping source.
    .global memcpy
    .type memcpy, @function
    .align 4
memcpy:
.Lcopy_up:
    mov     a5, a2
    add     a9, a2, a4                 // the end
    bltui   a4, 8, .Ltail
    neg     a7, a2
    extui   a7, a7, 0, 2
    beqz    a7, .Laligned
    add     a8, a5, a7
    copy_bytes_up
.Laligned:
    sub     a4, a9, a5
    srli    a10, a4, 3                 // pairs of words
    slli    a10, a10, 3
    add     a8, a5, a10
    extui   a7, a3, 0, 2
    beq     a5, a8, .Ltail
    bnez    a7, 2f
1:  l32i    a6, a3, 0
    l32i    a7, a3, 4
    addi    a3, a3, 8
    s32i    a6, a5, 0
    s32i    a7, a5, 4
    addi    a5, a5, 8
    bne     a5, a8, 1b
    j       .Ltail
2:  funnel  a3
    add     a3, a3, a10
    l32i    a7, a6, 0
3:  l32i    a10, a6, 4
    src     a11, a10, a7
    l32i    a7, a6, 8
    s32i    a11, a5, 0
    src     a11, a7, a10
    addi    a6, a6, 8
    s32i    a11, a5, 4
    addi    a5, a5, 8
    bne     a5, a8, 3b
.Ltail:
    beq     a5, a9, 4f
    mov     a8, a9
    copy_bytes_up
4:  ret

// Puts a3 from a5 on until a5 is a8, which is not a5. In IRAM changes a4, a6, a7, a10 and a11.
    .macro fill_bytes
    bbsi    a5, INSTRUCTION_BUS, .Lin_iram\@
.Lin_ram\@:
    s8i     a3, a5, 0
    addi    a5, a5, 1
    bne     a5, a8, .Lin_ram\@
    j       .Lfilled\@
.Lin_iram\@:
    in_iram .Lfill_in_iram
.Lfilled\@:
    .endm

// fn memset(to: a2, byte: a3, length: a4) -> to
    function memset
    mov     a5, a2
    add     a9, a2, a4
    bltui   a4, 8, 4f
    neg     a7, a2
    extui   a7, a7, 0, 2
    beqz    a7, 2f
    add     a8, a5, a7
    fill_bytes
2:  extui   a6, a3, 0, 8
    slli    a7, a6, 8
    or      a6, a6, a7
    slli    a7, a6, 16
    or      a6, a6, a7
    srli    a8, a9, 2
    slli    a8, a8, 2
    beq     a5, a8, 4f
3:  s32i    a6, a5, 0
    addi    a5, a5, 4
    bne     a5, a8, 3b
4:  beq     a5, a9, 6f
    mov     a8, a9
    fill_bytes
6:  ret

// fn memcmp(one: a2, other: a3, length: a4) -> i32: the difference of the first bytes that differ
    function memcmp
    .global bcmp
    .type bcmp, @function
bcmp:
    add     a9, a2, a4                 // the end
    or      a5, a2, a3
    bbsi    a5, INSTRUCTION_BUS, 4f
    bltui   a4, 4, 2f
    extui   a5, a5, 0, 2
    bnez    a5, 3f
    srli    a8, a9, 2
    slli    a8, a8, 2
1:  l32i    a5, a2, 0
    l32i    a6, a3, 0
    bne     a5, a6, 3f                 // which byte it is, the bytes tell
    addi    a2, a2, 4
    addi    a3, a3, 4
    bne     a2, a8, 1b
2:  beq     a2, a9, 6f
3:  l8ui    a5, a2, 0
    l8ui    a6, a3, 0
    addi    a2, a2, 1
    addi    a3, a3, 1
    bne     a5, a6, 5f
    bne     a2, a9, 3b
    j       6f
4:  beq     a2, a9, 6f
7:  load_byte a5 a2
    load_byte a6 a3
    addi    a2, a2, 1
    addi    a3, a3, 1
    bne     a5, a6, 5f
    bne     a2, a9, 7b
6:  movi    a2, 0
    ret
5:  sub     a2, a5, a6
    ret

// fn strlen(text: a2) -> usize
    function strlen
    mov     a3, a2
1:  load_byte a5 a3
    addi    a3, a3, 1
    bnez    a5, 1b
    sub     a2, a3, a2
    addi    a2, a2, -1
    ret

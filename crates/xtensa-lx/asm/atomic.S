// What LLVM calls for atomic loads and stores. On one core an aligned access is one already, and the call keeps the
// compiler from moving others across it.

    .macro access name instruction
    .section .text.\name, "ax"
    .global \name
    .type \name, @function
    .align 4
\name:
    \instruction
    ret.n
    .endm

    access __atomic_load_1, "l8ui a2, a2, 0"
    access __atomic_load_2, "l16ui a2, a2, 0"
    access __atomic_load_4, "l32i a2, a2, 0"
    access __atomic_store_1, "s8i a3, a2, 0"
    access __atomic_store_2, "s16i a3, a2, 0"
    access __atomic_store_4, "s32i a3, a2, 0"

// What LLVM calls where it has proved that nobody comes. Should it be wrong, the fault's report names the caller in a0.
    .section .text.abort, "ax"
    .global abort
    .type abort, @function
    .align 4
abort:
    ill

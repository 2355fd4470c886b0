// Two instructions for each of a2 rounds: what the counting is checked with.

    .section .text.two_a_round, "ax"
    .global two_a_round
    .type two_a_round, @function
    .align 4
two_a_round:
    addi    a2, a2, -1
    bnez    a2, two_a_round
    ret.n

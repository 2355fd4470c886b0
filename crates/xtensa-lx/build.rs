//! Assembles `asm/*.S` with the cross gcc: a stock compiler knows no inline assembly for Xtensa.

#[path = "../assemble.rs"]
mod assemble;

fn main() {
    assemble::archive(
        "xtensa_lx_asm",
        &[
            "asm/registers.S",
            "asm/atomic.S",
            "asm/memory.S",
            "asm/simcall.S",
        ],
    );
}

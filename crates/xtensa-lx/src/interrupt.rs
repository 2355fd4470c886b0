//! Interrupts and critical sections.

pub use bare_metal::CriticalSection;

unsafe extern "C" {
    safe fn xtensa_lx_mask_interrupts() -> u32;
    fn xtensa_lx_set_ps(ps: u32);
    safe fn xtensa_lx_get_ps() -> u32;
    safe fn xtensa_lx_swap_intenable(mask: u32) -> u32;
    safe fn xtensa_lx_or_intenable(mask: u32) -> u32;
    safe fn xtensa_lx_and_intenable(mask: u32) -> u32;
    safe fn xtensa_lx_get_intenable() -> u32;
    safe fn xtensa_lx_get_interrupt() -> u32;
    safe fn xtensa_lx_set_interrupt(mask: u32);
    safe fn xtensa_lx_clear_interrupt(mask: u32);
    safe fn xtensa_lx_wait();
}

/// An enum of a device's interrupts.
///
/// # Safety
/// Each variant must have a number of its own that never changes.
pub unsafe trait InterruptNumber: Copy {
    /// The interrupt's number.
    fn number(self) -> u16;
}

/// Disables all interrupts and returns the mask of those that were enabled.
#[inline]
pub fn disable() -> u32 {
    xtensa_lx_swap_intenable(0)
}

/// Enables all interrupts and returns the mask of those that were.
///
/// # Safety
/// Each interrupt needs a handler that quiets it.
#[inline]
pub unsafe fn enable() -> u32 {
    xtensa_lx_swap_intenable(!0)
}

/// Enables the interrupts of `mask` and no other; returns the mask before.
///
/// # Safety
/// Each interrupt needs a handler that quiets it.
#[inline]
pub unsafe fn set_mask(mask: u32) -> u32 {
    xtensa_lx_swap_intenable(mask)
}

/// Disables the interrupts of `mask`; returns the mask before.
#[inline]
pub fn disable_mask(mask: u32) -> u32 {
    xtensa_lx_and_intenable(!mask)
}

/// Enables the interrupts of `mask` too; returns the mask before.
///
/// # Safety
/// Each interrupt needs a handler that quiets it.
#[inline]
pub unsafe fn enable_mask(mask: u32) -> u32 {
    xtensa_lx_or_intenable(mask)
}

/// The mask of the enabled interrupts.
#[inline]
pub fn get_mask() -> u32 {
    xtensa_lx_get_intenable()
}

/// The mask of the interrupts that are raised, enabled or not.
#[inline]
pub fn get() -> u32 {
    xtensa_lx_get_interrupt()
}

/// Raises software interrupts.
///
/// # Safety
/// Each interrupt needs a handler that quiets it.
#[inline]
pub unsafe fn set(mask: u32) {
    xtensa_lx_set_interrupt(mask);
}

/// Quiets software and edge-triggered interrupts.
///
/// # Safety
/// What raised them is then forgotten.
#[inline]
pub unsafe fn clear(mask: u32) {
    xtensa_lx_clear_interrupt(mask);
}

/// The level up to which interrupts are masked.
#[inline]
pub fn get_level() -> u32 {
    xtensa_lx_get_ps() & 0xf
}

/// Masks all interrupts (but the one that cannot be) and returns the processor state for [`restore`].
#[inline]
pub fn mask() -> u32 {
    xtensa_lx_mask_interrupts()
}

/// Goes back to the state before the [`mask`] that returned it.
///
/// # Safety
/// In reverse order of the calls of [`mask`], and in the same function or interrupt handler.
#[inline]
pub unsafe fn restore(state: u32) {
    // SAFETY: the state was read from PS on the same level.
    unsafe { xtensa_lx_set_ps(state) }
}

/// Sleeps until an interrupt has been handled. Call it with interrupts masked after having seen that there is nothing to do: one
/// that came since then ends the sleep at once. No interrupt is masked on return.
#[inline]
pub fn wait() {
    xtensa_lx_wait();
}

/// Runs `f` with all interrupts masked. May be nested.
#[inline]
pub fn free<F, R>(f: F) -> R
where
    F: FnOnce(&CriticalSection) -> R,
{
    let state = mask();
    // SAFETY: interrupts are masked, and there is one core.
    let section = unsafe { CriticalSection::new() };
    let result = f(&section);
    // SAFETY: what `mask` returned above.
    unsafe { restore(state) };
    result
}

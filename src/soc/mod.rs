//! What differs between machines: the only unsafe code and the only `cfg` on a machine.
#[cfg(not(target_os = "none"))]
pub mod host;
#[cfg(target_os = "none")]
pub mod lx106;
pub mod nor;
#[cfg(soc = "qemu")]
pub mod qemu;

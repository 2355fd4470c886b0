//! Whether the meter is sending, for those who are about to stop everything.

use super::{port, sdk};

/// A telegram has no longer pause, at any of the speeds that a meter sends with.
const SILENCE_US: u32 = 5_000;

/// What the ring takes at 115200 baud while nobody fetches it; the rest of most telegrams is shorter.
const PATIENCE_US: u32 = 80_000;

/// Waits until the meter is silent, or it has taken so long that waiting costs as much as not to.
///
/// It blocks: storage is worked with in one go, see `at_once` in `smartmeter::device`. What is received meanwhile waits in the ring.
pub fn wait_for_silence() {
    sdk::system_soft_wdt_feed();
    let start = sdk::system_get_time();
    let (mut bytes, mut since) = (port::uart0().received(), start);
    loop {
        let now = sdk::system_get_time();
        let received = port::uart0().received();
        if received != bytes {
            (bytes, since) = (received, now);
        }
        if now.wrapping_sub(since) >= SILENCE_US || now.wrapping_sub(start) >= PATIENCE_US {
            return;
        }
    }
}

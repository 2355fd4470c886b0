//! The Ethernet MAC as a driver for embassy-net, by interrupt.

use core::{cell::RefCell, task::Context};

use critical_section::Mutex;
use embassy_net_driver::{
    Capabilities, Driver, HardwareAddress, LinkState, RxToken as Received, TxToken as Sending,
};
use embassy_sync::waitqueue::WakerRegistration;
use embassy_time::{Duration, Timer};

use super::{
    latency,
    mac::{self, MTU, Mac},
};

/// QEMU's own for a first network card.
const ADDRESS: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// How often the link is looked at: the MAC has no interrupt for it.
const LOOK: Duration = Duration::from_millis(500);

struct State {
    stack: WakerRegistration,
    counters: Counters,
}

static STATE: Mutex<RefCell<State>> = Mutex::new(RefCell::new(State {
    stack: WakerRegistration::new(),
    counters: Counters {
        missed: 0,
        damaged: 0,
        unsent: 0,
    },
}));

/// Frames that were lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Found no free descriptor.
    pub missed: u32,
    /// Came damaged, or of an impossible length.
    pub damaged: u32,
    /// Could not be sent.
    pub unsent: u32,
}

/// What has been lost so far.
pub fn counters() -> Counters {
    critical_section::with(|cs| STATE.borrow_ref(cs).counters)
}

/// Handles the MAC's interrupt.
pub(super) fn on_interrupt() {
    critical_section::with(|cs| {
        let mut state = STATE.borrow_ref_mut(cs);
        let raised = mac::acknowledge();
        state.counters.missed += u32::from(raised.missed);
        state.counters.unsent += u32::from(raised.unsent);
        state.stack.wake();
    });
}

/// Wakes the stack when the link goes down or comes back.
pub async fn watch_link() -> ! {
    let mut was_up = mac::is_link_up();
    loop {
        Timer::after(LOOK).await;
        let is_up = mac::is_link_up();
        if is_up != was_up {
            was_up = is_up;
            critical_section::with(|cs| STATE.borrow_ref_mut(cs).stack.wake());
        }
    }
}

/// The MAC. There is one: make one.
pub struct Ethernet(Mac);

impl Ethernet {
    /// Switches the MAC on.
    pub(super) fn start() -> Self {
        Self(Mac::start(Some(ADDRESS)))
    }
}

/// A frame that has come.
pub struct RxToken<'a>(&'a Mac, usize);

/// Room for a frame to be sent.
pub struct TxToken<'a>(&'a Mac);

impl Received for RxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        let Self(mac, length) = self;
        mac.receive(length, f)
    }
}

impl Sending for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let Self(mac) = self;
        let result = mac.send(length, f);
        latency::handed_over(length);
        result
    }
}

impl Driver for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, context: &mut Context) -> Option<(RxToken<'_>, TxToken<'_>)> {
        critical_section::with(|cs| {
            let mut state = STATE.borrow_ref_mut(cs);
            if self.0.has_room()
                && let Some(length) = self.0.next_frame(&mut state.counters.damaged)
            {
                return Some((RxToken(&self.0, length), TxToken(&self.0)));
            }
            // No interrupt comes between the look and this.
            state.stack.register(context.waker());
            None
        })
    }

    fn transmit(&mut self, context: &mut Context) -> Option<TxToken<'_>> {
        critical_section::with(|cs| {
            if self.0.has_room() {
                return Some(TxToken(&self.0));
            }
            STATE.borrow_ref_mut(cs).stack.register(context.waker());
            None
        })
    }

    fn link_state(&mut self, context: &mut Context) -> LinkState {
        critical_section::with(|cs| STATE.borrow_ref_mut(cs).stack.register(context.waker()));
        if mac::is_link_up() {
            LinkState::Up
        } else {
            LinkState::Down
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MTU;
        capabilities.max_burst_size = Some(mac::RECEIVED);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(ADDRESS)
    }
}

//! The radio as a driver for embassy-net: Ethernet frames to and from the interface of the vendor's libraries that is in use.
//!
//! A frame that comes lies in a buffer of the radio's, of which it has few; it is kept until the stack has looked at it. A frame that
//! goes is written into a buffer of the vendor's heap, with room in front for the radio's own header.

use core::{
    cell::RefCell,
    ptr::{self, NonNull},
    slice,
    task::Context,
};

use critical_section::Mutex;
use embassy_net_driver::{
    Capabilities, Driver, HardwareAddress, LinkState, RxToken as Received, TxToken as Sending,
};
use embassy_sync::waitqueue::WakerRegistration;
use heapless::Deque;

use super::{
    executor,
    lwip::{self, LINK, pbuf_alloc, pbuf_free},
    sdk::{self, Netif, Pbuf},
};

/// Ethernet header and 1500 bytes.
const MTU: usize = 1514;

/// Frames that wait for the stack: it is polled before more come, as a rule.
const WAITING: usize = 4;

/// The interface that the stack has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// None: nothing comes, nothing goes.
    None,
    /// The station's, once a network has let it in.
    Station,
    /// The access point's.
    AccessPoint,
}

impl Interface {
    fn number(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Station => Some(sdk::STATION),
            Self::AccessPoint => Some(sdk::ACCESS_POINT),
        }
    }

    /// Null while the vendor's libraries have none.
    fn netif(self) -> *mut Netif {
        self.number()
            .map_or(ptr::null_mut(), |number| sdk::eagle_lwip_getif(number))
    }
}

/// A buffer that is ours.
struct Buffer(NonNull<Pbuf>);

// SAFETY: one core, and no interrupt uses it.
unsafe impl Send for Buffer {}

impl Buffer {
    /// For a whole frame. The layer leaves 14 bytes more in front than the radio needs.
    fn new(length: usize) -> Option<Self> {
        let length = u16::try_from(length).ok()?;
        NonNull::new(pbuf_alloc(LINK, length, lwip::RAM.into())).map(Self)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: ours alone, and payloads are as long as they say.
        unsafe {
            let buffer = self.0.as_ref();
            match buffer.payload.is_null() {
                true => &mut [],
                false => slice::from_raw_parts_mut(buffer.payload, buffer.length.into()),
            }
        }
    }

    fn shorten(&mut self, length: usize) {
        // SAFETY: ours alone.
        let buffer = unsafe { self.0.as_mut() };
        let length = length.min(buffer.length.into()) as u16;
        buffer.length = length;
        buffer.total = length;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: our reference.
        unsafe { pbuf_free(self.0.as_ptr()) };
    }
}

struct State {
    interface: Interface,
    is_joined: bool,
    received: Deque<Buffer, WAITING>,
    /// For a frame that finds no memory: transmitting is promised before a frame's length is known.
    spare: Option<Buffer>,
    stack: WakerRegistration,
    counters: Counters,
}

static STATE: Mutex<RefCell<State>> = Mutex::new(RefCell::new(State {
    interface: Interface::None,
    is_joined: false,
    received: Deque::new(),
    spare: None,
    stack: WakerRegistration::new(),
    counters: Counters {
        missed: 0,
        unsent: 0,
    },
}));

/// Frames that were lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came faster than the stack took them.
    pub missed: u32,
    /// The radio did not take them: it is in no network, or has no buffer.
    pub unsent: u32,
}

/// What has been lost so far.
pub fn counters() -> Counters {
    critical_section::with(|cs| STATE.borrow_ref(cs).counters)
}

/// Gives the stack another interface. What has come over the one before is forgotten.
pub fn give(interface: Interface) {
    loop {
        // Given back outside of the critical section, into which the SDK would let interrupts.
        let old = critical_section::with(|cs| {
            let mut state = STATE.borrow_ref_mut(cs);
            state.interface = interface;
            state.stack.wake();
            state.received.pop_front()
        });
        if old.is_none() {
            return;
        }
    }
}

/// Whether a network has let the station in.
pub fn set_joined(is_joined: bool) {
    critical_section::with(|cs| {
        let mut state = STATE.borrow_ref_mut(cs);
        state.is_joined = is_joined;
        state.stack.wake();
    });
}

/// Somebody has given a buffer back, so there may be memory for who waits for it.
pub fn buffer_is_free() {
    critical_section::with(|cs| {
        let mut state = STATE.borrow_ref_mut(cs);
        if state.spare.is_none() {
            state.stack.wake();
        }
    });
    executor::kick();
}

/// Takes a frame from a task of the SDK.
///
/// # Safety
/// The buffer is ours from now on; the interface is one of the vendor's.
pub unsafe fn receive(buffer: *mut Pbuf, netif: *mut Netif) {
    let Some(buffer) = NonNull::new(buffer).map(Buffer) else {
        return;
    };
    let interface = critical_section::with(|cs| STATE.borrow_ref(cs).interface);
    if netif.is_null() || interface.netif() != netif {
        return;
    }
    let refused = critical_section::with(|cs| {
        let mut state = STATE.borrow_ref_mut(cs);
        let refused = state.received.push_back(buffer).err();
        state.counters.missed += u32::from(refused.is_some());
        state.stack.wake();
        refused
    });
    drop(refused);
    executor::kick();
}

/// The radio. There is one: make one.
pub struct Radio;

impl Radio {
    /// There is memory for a frame of any length.
    fn is_ready(&self) -> bool {
        let has = critical_section::with(|cs| STATE.borrow_ref(cs).spare.is_some());
        if has {
            return true;
        }
        let Some(spare) = Buffer::new(MTU) else {
            return false;
        };
        critical_section::with(|cs| STATE.borrow_ref_mut(cs).spare = Some(spare));
        true
    }
}

/// A frame that has come.
pub struct RxToken(Buffer);

/// Room for a frame to be sent.
pub struct TxToken;

impl Received for RxToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(self.0.bytes())
    }
}

impl Sending for TxToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let buffer = Buffer::new(length).or_else(|| {
            let mut spare = critical_section::with(|cs| STATE.borrow_ref_mut(cs).spare.take())?;
            spare.shorten(length);
            Some(spare)
        });
        // There is one token at a time: the stack is done with it before it asks for the next.
        let Some(mut buffer) = buffer else {
            unreachable!("a token is made with a spare");
        };
        let result = f(buffer.bytes());
        if !send(&buffer) {
            critical_section::with(|cs| STATE.borrow_ref_mut(cs).counters.unsent += 1);
        }
        result
    }
}

/// Hands a frame to the radio, which takes a reference of its own.
fn send(buffer: &Buffer) -> bool {
    let interface = critical_section::with(|cs| STATE.borrow_ref(cs).interface);
    let netif = interface.netif();
    // SAFETY: the interface of the vendor's, or null; the buffer is whole.
    unsafe {
        match netif.as_ref().and_then(|netif| netif.linkoutput) {
            Some(linkoutput) => linkoutput(netif, buffer.0.as_ptr()) == 0,
            None => false,
        }
    }
}

fn register(context: &Context<'_>) {
    critical_section::with(|cs| STATE.borrow_ref_mut(cs).stack.register(context.waker()));
}

impl Driver for Radio {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken;

    fn receive(&mut self, context: &mut Context) -> Option<(RxToken, TxToken)> {
        register(context);
        if !self.is_ready() {
            return None;
        }
        let buffer = critical_section::with(|cs| STATE.borrow_ref_mut(cs).received.pop_front())?;
        Some((RxToken(buffer), TxToken))
    }

    fn transmit(&mut self, context: &mut Context) -> Option<TxToken> {
        register(context);
        self.is_ready().then_some(TxToken)
    }

    fn link_state(&mut self, context: &mut Context) -> LinkState {
        register(context);
        let is_up = critical_section::with(|cs| {
            let state = STATE.borrow_ref(cs);
            match state.interface {
                Interface::None => false,
                Interface::Station => state.is_joined,
                Interface::AccessPoint => true,
            }
        });
        match is_up {
            true => LinkState::Up,
            false => LinkState::Down,
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MTU;
        capabilities.max_burst_size = Some(WAITING);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        let interface = critical_section::with(|cs| STATE.borrow_ref(cs).interface);
        HardwareAddress::Ethernet(address(interface))
    }
}

/// The radio's own address, another one for each interface.
pub fn address(interface: Interface) -> [u8; 6] {
    let mut address = [0; 6];
    let number = interface.number().unwrap_or(sdk::STATION);
    // SAFETY: it has room for six bytes. Without an answer it stays 0, and nobody talks to it.
    let _ = unsafe { sdk::wifi_get_macaddr(number, address.as_mut_ptr()) };
    address
}

//! What the vendor's libraries want of lwIP, and no more: buffers for frames, and the interface's registration.
//!
//! The TCP/IP stack is embassy-net's. The libraries' own lwIP would take 45 kB of flash and 2 kB of RAM, and answer ARP and DHCP a
//! second time. Functions that only it could give a meaning to do nothing.

use core::{
    ffi::c_void,
    ptr::{self, null_mut},
};

use super::{
    radio,
    sdk::{self, NETIF_UP, Netif, Pbuf},
};

/// `err_t`, lwip/err.h: all is well; out of memory; not connected; illegal argument.
const OK: i8 = 0;
const MEMORY: i8 = -1;
const NOT_CONNECTED: i8 = -11;
const ARGUMENT: i8 = -14;

/// `pbuf_type`, lwip/pbuf.h: payload behind the structure, or somewhere else.
pub const RAM: u8 = 0;
const ROM: u8 = 1;
const REF: u8 = 2;
const RECEIVED: u8 = 4;

/// `pbuf_layer`, lwip/pbuf.h, as the room that is left before a payload: what a radio puts in front of an Ethernet frame (36 bytes),
/// Ethernet's header, IP's, TCP's.
const ROOM: [usize; 4] = [90, 70, 50, 36];
/// The layer of a whole Ethernet frame's payload, and of the frame.
pub const LINK: u32 = 2;
const RAW: u32 = 3;
const _: () = assert!(ROOM[RAW as usize] == 36 && ROOM[LINK as usize] == 36 + 14);

/// Memory of the vendor's heap.
fn allocate(size: usize) -> *mut u8 {
    // SAFETY: the name of a file is for a debugging aid that is not linked.
    unsafe { sdk::pvPortMalloc(size, c"".as_ptr(), 0, false).cast() }
}

/// Makes a buffer for a frame, as lwIP does.
///
/// Null when there is no memory, or the kind is none that the libraries use.
#[unsafe(no_mangle)]
pub extern "C" fn pbuf_alloc(layer: u32, length: u16, kind: u32) -> *mut Pbuf {
    let Some(room) = ROOM.get(layer as usize) else {
        return null_mut();
    };
    let header = (size_of::<Pbuf>() + room).next_multiple_of(4);
    let size = match kind as u8 {
        RAM => header + usize::from(length).next_multiple_of(4),
        ROM | REF => size_of::<Pbuf>(),
        _ => return null_mut(),
    };
    let memory = allocate(size);
    if memory.is_null() {
        return null_mut();
    }
    let payload = match kind as u8 {
        RAM => memory.wrapping_add(header),
        _ => null_mut(),
    };
    let buffer = memory.cast::<Pbuf>();
    // SAFETY: the heap's memory is aligned for words and long enough.
    unsafe {
        buffer.write(Pbuf {
            next: null_mut(),
            payload,
            total: length,
            length,
            kind: kind as u8,
            flags: 0,
            references: 1,
            radio: null_mut(),
        });
    }
    buffer
}

/// Gives up a reference to a buffer and, with the last, the buffer; and so on along the chain. Returns how many are gone.
///
/// # Safety
/// A buffer from [`pbuf_alloc`], to which the caller has a reference, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pbuf_free(buffer: *mut Pbuf) -> u8 {
    let mut buffer = buffer;
    let mut gone = 0;
    // SAFETY: the caller's promise; a chain holds a reference to the next.
    while let Some(held) = unsafe { buffer.as_mut() } {
        held.references = held.references.saturating_sub(1);
        if held.references > 0 {
            break;
        }
        let next = held.next;
        if matches!(held.kind, ROM | REF | RECEIVED) && !held.radio.is_null() {
            // SAFETY: the radio put it there, and nobody else has it any more.
            unsafe { sdk::system_pp_recycle_rx_pkt(held.radio) };
        }
        // SAFETY: nobody has a reference any more.
        unsafe { sdk::vPortFree(buffer.cast(), c"".as_ptr(), 0) };
        gone += 1;
        buffer = next;
    }
    if gone > 0 {
        radio::buffer_is_free();
    }
    gone
}

/// Takes one more reference.
///
/// # Safety
/// As for [`pbuf_free`].
#[unsafe(no_mangle)]
unsafe extern "C" fn pbuf_ref(buffer: *mut Pbuf) {
    // SAFETY: the caller's promise.
    if let Some(buffer) = unsafe { buffer.as_mut() } {
        buffer.references = buffer.references.saturating_add(1);
    }
}

/// Copies a chain into one buffer.
///
/// # Safety
/// Both are from [`pbuf_alloc`], and `from` has its payloads.
#[unsafe(no_mangle)]
unsafe extern "C" fn pbuf_copy(to: *mut Pbuf, from: *const Pbuf) -> i8 {
    // SAFETY: the caller's promise.
    let (Some(to), Some(first)) = (unsafe { to.as_mut() }, unsafe { from.as_ref() }) else {
        return ARGUMENT;
    };
    if to.length < first.total {
        return ARGUMENT;
    }
    let mut place = to.payload;
    let mut rest = to.length;
    let mut piece = Some(first);
    while let Some(one) = piece {
        let Some(left) = rest.checked_sub(one.length) else {
            return ARGUMENT;
        };
        // SAFETY: it fits, see above; two buffers do not overlap.
        unsafe { ptr::copy_nonoverlapping(one.payload, place, one.length.into()) };
        place = place.wrapping_add(one.length.into());
        rest = left;
        // SAFETY: the caller's promise.
        piece = unsafe { one.next.as_ref() };
    }
    OK
}

/// Registers an interface of the radio: `input` gets its frames, and is [`ethernet_input`].
///
/// # Safety
/// By libmain, with an interface of its own.
#[unsafe(no_mangle)]
unsafe extern "C" fn netif_add(
    netif: *mut Netif,
    ip: *const u32,
    mask: *const u32,
    gateway: *const u32,
    state: *mut c_void,
    init: Option<unsafe extern "C" fn(*mut Netif) -> i8>,
    input: Option<sdk::Input>,
) -> *mut Netif {
    // SAFETY: the caller's promise.
    let Some(interface) = (unsafe { netif.as_mut() }) else {
        return null_mut();
    };
    interface.state = state;
    interface.input = input;
    interface.flags = 0;
    // SAFETY: the caller's promise.
    unsafe { netif_set_addr(netif, ip, mask, gateway) };
    // SAFETY: the caller's promise.
    if let Some(init) = init
        && unsafe { init(netif) } != OK
    {
        return null_mut();
    }
    netif
}

/// The addresses are embassy-net's; libmain reads back what it has set.
///
/// # Safety
/// As for [`netif_add`].
#[unsafe(no_mangle)]
unsafe extern "C" fn netif_set_addr(
    netif: *mut Netif,
    ip: *const u32,
    mask: *const u32,
    gateway: *const u32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(interface) = netif.as_mut() {
            interface.ip = ip.as_ref().copied().unwrap_or_default();
            interface.mask = mask.as_ref().copied().unwrap_or_default();
            interface.gateway = gateway.as_ref().copied().unwrap_or_default();
        }
    }
}

/// # Safety
/// As for [`netif_add`].
#[unsafe(no_mangle)]
unsafe extern "C" fn netif_set_up(netif: *mut Netif) {
    // SAFETY: the caller's promise.
    if let Some(interface) = unsafe { netif.as_mut() } {
        interface.flags |= NETIF_UP;
    }
}

/// # Safety
/// As for [`netif_add`].
#[unsafe(no_mangle)]
unsafe extern "C" fn netif_set_down(netif: *mut Netif) {
    // SAFETY: the caller's promise.
    if let Some(interface) = unsafe { netif.as_mut() } {
        interface.flags &= !NETIF_UP;
    }
}

/// # Safety
/// As for [`netif_add`].
#[unsafe(no_mangle)]
unsafe extern "C" fn netif_remove(netif: *mut Netif) {
    // SAFETY: the caller's promise.
    unsafe { netif_set_down(netif) };
}

/// The interface that libmain takes for the default one.
#[unsafe(no_mangle)]
static mut netif_default: *mut Netif = null_mut();

#[unsafe(no_mangle)]
extern "C" fn netif_set_default(netif: *mut Netif) {
    // SAFETY: only libmain's tasks use it, and they do not interrupt each other.
    unsafe { (&raw mut netif_default).write(netif) };
}

/// Takes a frame from the radio.
///
/// # Safety
/// By libmain's task, with a buffer that is ours from then on.
#[unsafe(no_mangle)]
unsafe extern "C" fn ethernet_input(buffer: *mut Pbuf, netif: *mut Netif) -> i8 {
    // SAFETY: the caller's promise.
    unsafe { radio::receive(buffer, netif) };
    OK
}

/// libmain enters it into an interface as `output`, where only lwIP would call it.
#[unsafe(no_mangle)]
extern "C" fn etharp_output(_: *mut Netif, _: *mut Pbuf, _: *const u32) -> i8 {
    NOT_CONNECTED
}

/// The Ethernet address of everybody.
#[unsafe(no_mangle)]
static ethbroadcast: [u8; 6] = [0xFF; 6];

/// The vendor's DHCP client does not start: embassy-net has one.
#[unsafe(no_mangle)]
extern "C" fn dhcp_start(_: *mut Netif) -> i8 {
    MEMORY
}

#[unsafe(no_mangle)]
extern "C" fn dhcp_release(_: *mut Netif) -> i8 {
    OK
}

#[unsafe(no_mangle)]
extern "C" fn dhcp_stop(_: *mut Netif) {}

#[unsafe(no_mangle)]
extern "C" fn dhcp_cleanup(_: *mut Netif) {}

/// Nor does its server: `app::dhcp` is there.
#[unsafe(no_mangle)]
extern "C" fn dhcps_start(_: *const c_void, _: *mut Netif) {}

#[unsafe(no_mangle)]
extern "C" fn dhcps_stop(_: *mut Netif) {}

#[unsafe(no_mangle)]
extern "C" fn lwip_init() {}

#[unsafe(no_mangle)]
extern "C" fn espconn_init() {}

/// libmain calls it by a timer of its own.
#[unsafe(no_mangle)]
extern "C" fn sys_check_timeouts() {}

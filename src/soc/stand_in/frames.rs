//! The way of a frame between the interfaces that the glue knows and QEMU's network card, as the vendor's libraries have it.

use core::{
    ffi::c_void,
    ptr::{self, null_mut},
};

use super::{
    Own, heap, mac,
    mac::Mac,
    only_in_tasks, refuse, tasks, wifi,
    words::{Fault, words},
};
use crate::soc::esp8266::sdk::{self, Event, Input, Netif, Pbuf};

/// Buffers that the radio receives into.
const BUFFERS: usize = 8;
/// Frames that the radio has not sent yet.
const UNSENT: usize = 4;
/// What the radio writes before a frame.
const HEADROOM: usize = 36;
/// A frame that waits, at most.
const QUEUE: u8 = 10;

/// `NETIF_FLAG_LINK_UP`, lwip/netif.h: without it received frames are thrown away. And what an interface has from the start.
const LINK_UP: u8 = 0x10;
const FLAGS: u8 = 0xb2;

/// `pbuf_layer` and `pbuf_type`, lwip/pbuf.h.
const LINK: u32 = 2;
const RAW: u32 = 3;
const RAM: u32 = 0;
const REF: u32 = 2;

/// `err_t`, lwip/err.h.
const OK: i8 = 0;
const MEMORY: i8 = -1;
const NOT_CONNECTED: i8 = -11;

/// What memory of the radio's holds when it is not ours.
const GONE: u8 = 0xdb;

/// Messages to the radio's task.
mod signal {
    pub const FRAMES: u32 = 0;
    pub const SENT: u32 = 1;
    pub const LINK: u32 = 2;
    pub const FAULT: u32 = 3;
}

// What libmain finds in lwIP, and here in the glue.
unsafe extern "C" {
    fn pbuf_alloc(layer: u32, length: u16, kind: u32) -> *mut Pbuf;
    fn pbuf_free(buffer: *mut Pbuf) -> u8;
    fn pbuf_ref(buffer: *mut Pbuf);
    fn pbuf_copy(to: *mut Pbuf, from: *const Pbuf) -> i8;
    fn netif_add(
        netif: *mut Netif,
        ip: *const u32,
        mask: *const u32,
        gateway: *const u32,
        state: *mut c_void,
        init: Option<unsafe extern "C" fn(*mut Netif) -> i8>,
        input: Option<Input>,
    ) -> *mut Netif;
    fn netif_remove(netif: *mut Netif);
    fn netif_set_up(netif: *mut Netif);
    fn netif_set_down(netif: *mut Netif);
    fn ethernet_input(buffer: *mut Pbuf, netif: *mut Netif) -> i8;
    fn etharp_output(netif: *mut Netif, buffer: *mut Pbuf, address: *const u32) -> i8;
}

#[repr(C, align(4))]
struct Buffer {
    bytes: [u8; mac::MTU],
    is_held: bool,
}

/// How many frames went which way.
#[derive(Clone, Copy)]
pub struct Counters {
    /// Buffers that have not been given back.
    pub held: u32,
    pub received: u32,
    pub sent: u32,
    /// Came while there was no buffer, memory, place or interface for them.
    pub thrown: u32,
}

struct Frames {
    card: Option<Mac>,
    interfaces: [*mut Netif; 2],
    queues: [*mut c_void; 2],
    buffers: [Buffer; BUFFERS],
    unsent: [*mut Pbuf; UNSENT],
    is_posted: bool,
    was_up: bool,
    damaged: u32,
    counters: Counters,
}

#[unsafe(link_section = ".stand_in.frames")]
static FRAMES: Own<Frames> = Own::new(Frames {
    card: None,
    interfaces: [null_mut(); 2],
    queues: [null_mut(); 2],
    buffers: [const {
        Buffer {
            bytes: [GONE; mac::MTU],
            is_held: false,
        }
    }; BUFFERS],
    unsent: [null_mut(); UNSENT],
    is_posted: false,
    was_up: true,
    damaged: 0,
    counters: Counters {
        held: 0,
        received: 0,
        sent: 0,
        thrown: 0,
    },
});

#[unsafe(link_section = ".stand_in.frames.queue")]
static MESSAGES: Own<[Event; 16]> = Own::new(
    [Event {
        signal: 0,
        parameter: 0,
    }; 16],
);

/// Switches the card on.
pub fn start() {
    // SAFETY: a static.
    unsafe { tasks::make(serve, tasks::RADIO, MESSAGES.0.get().cast(), 16) };
    FRAMES.with(|frames| frames.card = Some(Mac::start(None)));
}

/// A buffer of the radio's.
pub fn buffer() -> *mut c_void {
    FRAMES.with(|frames| frames.buffers.as_mut_ptr().cast())
}

/// How many frames went which way.
pub fn counters() -> Counters {
    FRAMES.with(|frames| frames.counters)
}

/// The card's interrupt.
pub fn on_interrupt() {
    mac::acknowledge();
    look();
}

fn look() {
    let is_new = FRAMES.with(|frames| !core::mem::replace(&mut frames.is_posted, true));
    if is_new {
        tasks::post(tasks::RADIO, signal::FRAMES, 0);
    }
}

/// Looks whether the network is plugged in.
pub fn look_at_link() {
    let is_up = mac::is_link_up();
    let has_changed = FRAMES.with(|frames| core::mem::replace(&mut frames.was_up, is_up) != is_up);
    if has_changed {
        tasks::post(tasks::RADIO, signal::LINK, is_up.into());
    }
}

/// Has the radio's task do what a word has ordered.
pub fn break_down() {
    tasks::post(tasks::RADIO, signal::FAULT, 0);
}

/// The radio's task.
extern "C" fn serve(event: *mut Event) {
    // SAFETY: the task's message.
    let Event { signal, parameter } = unsafe { *event };
    match signal {
        signal::FRAMES => {
            FRAMES.with(|frames| frames.is_posted = false);
            while receive() {}
        }
        signal::SENT => release(),
        signal::LINK => wifi::link_changed(parameter != 0),
        _ => match words().fault {
            Some(Fault::Watchdog) => loop {
                core::hint::spin_loop();
            },
            // SAFETY: it is not: that is what was ordered.
            _ => unsafe {
                let crooked = core::hint::black_box(0x3ffe_8001 as *const u32);
                core::hint::black_box(crooked.read_volatile());
            },
        },
    }
}

/// Takes a frame from the card.
fn receive() -> bool {
    let frame = FRAMES.with(|frames| {
        let card = frames.card.as_ref()?;
        let length = card.next_frame(&mut frames.damaged)?;
        let free = frames.buffers.iter_mut().find(|buffer| !buffer.is_held);
        let Some(buffer) = free else {
            card.receive(length, |_| ());
            frames.counters.thrown += 1;
            return Some((null_mut(), 0));
        };
        card.receive(length, |bytes| {
            if let Some(place) = buffer.bytes.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
            }
        });
        buffer.is_held = true;
        frames.counters.held += 1;
        Some((ptr::from_mut(buffer), length))
    });
    let Some((buffer, length)) = frame else {
        return false;
    };
    if !buffer.is_null() {
        deliver(buffer, length);
    }
    true
}

/// As `ieee80211_deliver_data`: the frame goes to the task of the interface that it is for. A frame to everybody goes to the one that
/// is in a network, or else to the access point's.
fn deliver(buffer: *mut Buffer, length: usize) {
    // SAFETY: just received.
    let is_for_all = unsafe { (*buffer).bytes[0] } & 1 != 0;
    let number = [sdk::STATION, sdk::ACCESS_POINT]
        .into_iter()
        .find(|number| {
            let netif = eagle_lwip_getif(*number);
            // SAFETY: an interface that is there.
            unsafe { netif.as_ref() }.is_some_and(|netif| {
                netif.flags & LINK_UP != 0
                    && wifi::is_on_air(*number)
                    && (is_for_all || is_address(buffer, netif))
            })
        });
    let Some(number) = number else {
        throw(buffer);
        return;
    };
    // SAFETY: as libmain does.
    unsafe {
        let wrapped = pbuf_alloc(RAW, length as u16, REF);
        if wrapped.is_null() {
            throw(buffer);
            return;
        }
        (*wrapped).payload = buffer.cast();
        (*wrapped).radio = buffer.cast();
        if !tasks::post(tasks::STATION + number, 0, wrapped as u32) {
            FRAMES.with(|frames| frames.counters.thrown += 1);
            pbuf_free(wrapped);
        }
    }
}

fn is_address(buffer: *const Buffer, netif: &Netif) -> bool {
    // SAFETY: just received.
    unsafe { (*buffer).bytes.starts_with(&netif.hwaddr) }
}

fn throw(buffer: *mut Buffer) {
    FRAMES.with(|frames| frames.counters.thrown += 1);
    // SAFETY: the radio's own.
    unsafe { system_pp_recycle_rx_pkt(buffer.cast()) };
}

/// Gives a received frame's buffer back. Who still reads it finds no frame.
#[unsafe(no_mangle)]
unsafe extern "C" fn system_pp_recycle_rx_pkt(buffer: *mut c_void) {
    only_in_tasks("system_pp_recycle_rx_pkt");
    FRAMES.with(|frames| {
        let mut buffers = frames.buffers.iter_mut();
        let found =
            buffers.find(|known| ptr::from_ref::<Buffer>(*known).cast::<c_void>() == buffer);
        let Some(found) = found else {
            refuse!(
                "system_pp_recycle_rx_pkt: the radio does not have {:x}",
                buffer as u32
            );
        };
        if !found.is_held {
            refuse!("system_pp_recycle_rx_pkt: a buffer is given back twice");
        }
        found.is_held = false;
        found.bytes.fill(GONE);
        frames.counters.held -= 1;
    });
    // Frames may have waited for it.
    look();
}

extern "C" fn serve_station(event: *mut Event) {
    input(sdk::STATION, event);
}

extern "C" fn serve_access_point(event: *mut Event) {
    input(sdk::ACCESS_POINT, event);
}

/// The interface's task: hands its frame on.
fn input(number: u8, event: *mut Event) {
    // SAFETY: the task's message.
    let buffer = unsafe { (*event).parameter as *mut Pbuf };
    let netif = eagle_lwip_getif(number);
    // SAFETY: what `netif_add` was given.
    unsafe {
        match netif.as_ref().and_then(|netif| netif.input) {
            Some(input) => {
                FRAMES.with(|frames| frames.counters.received += 1);
                input(buffer, netif);
            }
            None => {
                pbuf_free(buffer);
            }
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn eagle_lwip_getif(number: u8) -> *mut Netif {
    FRAMES.with(|frames| {
        let netif = frames.interfaces.get(usize::from(number));
        netif.copied().unwrap_or(null_mut())
    })
}

/// As `eagle_lwip_if_alloc`: an interface, and the task of its frames, in the vendor's heap.
pub fn add(number: u8) {
    if !eagle_lwip_getif(number).is_null() {
        return;
    }
    let allocate = |size| heap::pvPortMalloc(size, c"".as_ptr(), 0, false);
    let netif = allocate(size_of::<Netif>()).cast::<Netif>();
    let queue = allocate(size_of::<Event>() * usize::from(QUEUE));
    if netif.is_null() || queue.is_null() {
        refuse!("there is no memory for an interface");
    }
    let index = usize::from(number);
    FRAMES.with(|frames| {
        if let (Some(place), Some(queues)) = (
            frames.interfaces.get_mut(index),
            frames.queues.get_mut(index),
        ) {
            (*place, *queues) = (netif, queue);
        }
    });
    let function = match number {
        sdk::STATION => serve_station,
        _ => serve_access_point,
    };
    // SAFETY: the queue is there until the interface goes; no message comes after that.
    unsafe { tasks::make(function, tasks::STATION + number, queue.cast(), QUEUE) };
    let nowhere = 0;
    // SAFETY: as libmain does: it fills in what it has, the rest is the glue's.
    unsafe {
        netif.write_bytes(0, 1);
        (*netif).hwaddr = wifi::address(number);
        (*netif).output = Some(output);
        (*netif).number = number;
        let added = netif_add(
            netif,
            &raw const nowhere,
            &raw const nowhere,
            &raw const nowhere,
            number as usize as *mut c_void,
            Some(init),
            Some(ethernet_input),
        );
        if added.is_null() {
            refuse!("netif_add takes no interface");
        }
    }
}

extern "C" fn output(netif: *mut Netif, buffer: *mut Pbuf, address: *const u32) -> i8 {
    // SAFETY: handed on.
    unsafe { etharp_output(netif, buffer, address) }
}

unsafe extern "C" fn init(netif: *mut Netif) -> i8 {
    // SAFETY: `netif_add`'s.
    unsafe {
        (*netif).hwaddr_len = 6;
        (*netif).mtu = 1500;
        (*netif).flags = FLAGS;
        (*netif).linkoutput = Some(linkoutput);
    }
    OK
}

fn taken<T>(place: &mut *mut T) -> *mut T {
    core::mem::replace(place, null_mut())
}

/// An interface goes, and the frames that wait for it.
pub fn remove(number: u8) {
    let index = usize::from(number);
    let (netif, queue) = FRAMES.with(|frames| {
        let netif = frames.interfaces.get_mut(index).map(taken);
        let queue = frames.queues.get_mut(index).map(taken);
        (netif.unwrap_or(null_mut()), queue.unwrap_or(null_mut()))
    });
    if netif.is_null() {
        return;
    }
    while let Some(event) = tasks::take(tasks::STATION + number) {
        // SAFETY: a frame that waited.
        unsafe { pbuf_free(event.parameter as *mut Pbuf) };
    }
    tasks::unmake(tasks::STATION + number);
    // SAFETY: as libmain does.
    unsafe { netif_remove(netif) };
    heap::vPortFree(netif.cast(), c"".as_ptr(), 0);
    heap::vPortFree(queue, c"".as_ptr(), 0);
}

/// An interface comes up or goes down.
pub fn set_up(number: u8, is_up: bool) {
    let netif = eagle_lwip_getif(number);
    if netif.is_null() {
        return;
    }
    // SAFETY: an interface that is there.
    unsafe {
        match is_up {
            true => netif_set_up(netif),
            false => netif_set_down(netif),
        }
    }
}

/// libmain's `low_level_output`.
unsafe extern "C" fn linkoutput(netif: *mut Netif, buffer: *mut Pbuf) -> i8 {
    only_in_tasks("linkoutput");
    // SAFETY: the caller's promise.
    let Some(number) = (unsafe { netif.as_ref() }).map(|netif| netif.number) else {
        refuse!("linkoutput without an interface");
    };
    if eagle_lwip_getif(number) != netif {
        refuse!("linkoutput over an interface that is gone");
    }
    if !wifi::is_on_air(number) {
        return NOT_CONNECTED;
    }
    // SAFETY: the caller's promise.
    unsafe {
        if (*buffer).next.is_null() {
            return send(buffer);
        }
        let whole = pbuf_alloc(LINK, (*buffer).total, RAM);
        if whole.is_null() {
            return MEMORY;
        }
        let mut result = pbuf_copy(whole, buffer);
        if result == OK {
            result = send(whole);
        }
        pbuf_free(whole);
        result
    }
}

/// As `ieee80211_output_pbuf`: writes the radio's header before the frame, and keeps a reference until the frame is sent.
///
/// # Safety
/// A buffer of the glue's.
unsafe fn send(buffer: *mut Pbuf) -> i8 {
    // SAFETY: the caller's promise.
    let frame = unsafe {
        let room = (*buffer).payload as usize - (buffer as usize + size_of::<Pbuf>());
        if (*buffer).kind != RAM as u8 || room < HEADROOM {
            refuse!(
                "linkoutput: {} bytes before the frame, where the radio writes {}",
                room,
                HEADROOM
            );
        }
        let length = usize::from((*buffer).length);
        if !(14..=mac::MTU).contains(&length) || (*buffer).total != (*buffer).length {
            refuse!("linkoutput: a frame of {} bytes", length);
        }
        (*buffer).payload.sub(HEADROOM).write_bytes(GONE, HEADROOM);
        core::slice::from_raw_parts((*buffer).payload, length)
    };
    let is_sent = FRAMES.with(|frames| {
        let (Some(card), Some(place)) = (
            frames.card.as_ref().filter(|card| card.has_room()),
            frames.unsent.iter_mut().find(|place| place.is_null()),
        ) else {
            return false;
        };
        card.send(frame.len(), |bytes| {
            if let Some(place) = bytes.get_mut(..frame.len()) {
                place.copy_from_slice(frame);
            }
        });
        *place = buffer;
        frames.counters.sent += 1;
        true
    });
    if !is_sent {
        return MEMORY;
    }
    // SAFETY: the caller's promise.
    unsafe { pbuf_ref(buffer) };
    tasks::post(tasks::RADIO, signal::SENT, 0);
    OK
}

/// The radio has sent what it had.
fn release() {
    loop {
        let sent = FRAMES.with(|frames| {
            let place = frames.unsent.iter_mut().find(|place| !place.is_null())?;
            Some(taken(place))
        });
        let Some(buffer) = sent else {
            return;
        };
        // SAFETY: our reference.
        unsafe { pbuf_free(buffer) };
    }
}

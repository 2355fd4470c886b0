//! The vendor's heap: what the image leaves of the data memory, less the vendor's own variables.

use core::{
    ffi::{c_char, c_void},
    ptr::null_mut,
};

use super::{Own, only_in_tasks, refuse, words::words};

unsafe extern "C" {
    static mut _heap_start: u32;
    static mut _heap_end: u32;
    /// By the board's ledger, through build.rs.
    static _stand_in_vendor_variables: u32;
}

/// What precedes a piece.
#[repr(C)]
struct Header {
    /// Of the piece with its header, in bytes; odd while somebody has it.
    size: u32,
    /// The same, turned over: what runs over its end is found.
    check: u32,
}

const HEADER: u32 = size_of::<Header>() as u32;
/// A word behind a piece, which nobody writes to.
const TAIL: u32 = 0x7a11_7a11;
const USED: u32 = 1;
/// What memory holds before it is written to, and when it is gone.
const FRESH: u8 = 0xa5;
const GONE: u8 = 0xfe;

struct Heap {
    start: u32,
    end: u32,
    calls: u32,
    counters: Counters,
}

/// How the heap is.
#[derive(Clone, Copy)]
pub struct Counters {
    pub free: u32,
    pub lowest: u32,
    pub pieces: u32,
    pub refused: u32,
}

#[unsafe(link_section = ".stand_in.heap")]
static HEAP: Own<Heap> = Own::new(Heap {
    start: 0,
    end: 0,
    calls: 0,
    counters: Counters {
        free: 0,
        lowest: 0,
        pieces: 0,
        refused: 0,
    },
});

/// Makes one free piece of all of it.
pub fn start() {
    let variables = (&raw const _stand_in_vendor_variables) as u32;
    let start = ((&raw mut _heap_start) as u32 + variables).next_multiple_of(8);
    let mut end = (&raw mut _heap_end) as u32 & !7;
    if let Some(size) = words().heap {
        end = end.min(start + (size & !7));
    }
    HEAP.with(|heap| {
        (heap.start, heap.end) = (start, end);
        let size = end - start;
        (heap.counters.free, heap.counters.lowest) = (size, size);
        // SAFETY: nobody else has that memory.
        unsafe {
            (start as *mut u8).write_bytes(FRESH, size as usize);
            set(start, size);
        }
    });
}

/// # Safety
/// A piece's place.
unsafe fn set(place: u32, size: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        (place as *mut Header).write(Header { size, check: !size });
    }
}

impl Heap {
    /// The piece at a place, which is whole.
    fn at(&self, place: u32) -> (u32, bool) {
        // SAFETY: within the heap.
        let Header { size, check } = unsafe { (place as *const Header).read() };
        if size != !check || place + (size & !USED) > self.end {
            refuse!("the heap is overwritten at {:x}", place);
        }
        (size & !USED, size & USED != 0)
    }

    fn take(&mut self, size: u32) -> u32 {
        let wanted = (size + HEADER + 4).next_multiple_of(8);
        let mut place = self.start;
        while place < self.end {
            let (mut free, is_used) = self.at(place);
            if !is_used {
                while place + free < self.end {
                    let (next, is_used) = self.at(place + free);
                    if is_used {
                        break;
                    }
                    free += next;
                }
                // SAFETY: free, so ours.
                unsafe { set(place, free) };
                if free >= wanted {
                    return self.cut(place, free, wanted);
                }
            }
            place += free;
        }
        0
    }

    fn cut(&mut self, place: u32, free: u32, wanted: u32) -> u32 {
        let taken = if free - wanted >= 2 * HEADER {
            wanted
        } else {
            free
        };
        // SAFETY: free, so ours.
        unsafe {
            if taken < free {
                set(place + taken, free - taken);
            }
            set(place, taken | USED);
            ((place + HEADER) as *mut u8).write_bytes(FRESH, (taken - HEADER) as usize);
            ((place + taken - 4) as *mut u32).write(TAIL);
        }
        self.counters.free -= taken;
        self.counters.lowest = self.counters.lowest.min(self.counters.free);
        self.counters.pieces += 1;
        place + HEADER
    }

    fn give(&mut self, memory: u32) {
        let place = memory.wrapping_sub(HEADER);
        if !(self.start..self.end).contains(&place) || place % 8 != 0 {
            refuse!("vPortFree({:x}): the heap does not have it", memory);
        }
        let (size, is_used) = self.at(place);
        if !is_used {
            refuse!("vPortFree({:x}) a second time", memory);
        }
        // SAFETY: the piece's last word.
        if unsafe { ((place + size - 4) as *const u32).read() } != TAIL {
            refuse!("somebody wrote behind the {} bytes at {:x}", size, memory);
        }
        // SAFETY: nobody has it any more.
        unsafe {
            ((place + HEADER) as *mut u8).write_bytes(GONE, (size - HEADER) as usize);
            set(place, size);
        }
        self.counters.free += size;
        self.counters.pieces -= 1;
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn pvPortMalloc(
    size: usize,
    _file: *const c_char,
    _line: u32,
    _iram: bool,
) -> *mut c_void {
    only_in_tasks("pvPortMalloc");
    let fail = words().fail;
    let memory = HEAP.with(|heap| {
        heap.calls += 1;
        let fails = fail.is_some_and(|each| each > 0 && heap.calls.is_multiple_of(each));
        let memory = if fails { 0 } else { heap.take(size as u32) };
        heap.counters.refused += u32::from(memory == 0);
        memory
    });
    match memory {
        0 => null_mut(),
        place => place as *mut c_void,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn vPortFree(memory: *mut c_void, _file: *const c_char, _line: u32) {
    only_in_tasks("vPortFree");
    if !memory.is_null() {
        HEAP.with(|heap| heap.give(memory as u32));
    }
}

#[unsafe(no_mangle)]
extern "C" fn system_get_free_heap_size() -> u32 {
    counters().free
}

/// How the heap is.
pub fn counters() -> Counters {
    HEAP.with(|heap| heap.counters)
}

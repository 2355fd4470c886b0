//! The way of the vendor's libraries into the image: [`user_pre_init`], [`user_init`], and when all is ready [`start`].

use core::ffi::{c_int, c_void};

use embassy_executor::Spawner;

use super::{
    cold, executor, map, port, rf, run,
    sdk::{self, Partition, partition},
    time, wifi,
};
use crate::soc::lx106::stack;

/// Exceptions, Xtensa ISA Reference Manual, table 4-64.
const LOAD_STORE_ERROR: usize = 3;
const LOAD_PROHIBITED: usize = 28;

/// The ROM's table of exception handlers in assembly, one address for each cause: libmain's vector jumps by it.
const HANDLERS: *mut usize = 0x3fff_c000 as *mut usize;

const SECTOR: u32 = 4096;

/// `enum flash_size_map` of user_interface.h: the SDK compares it with the size in the image's header.
const SIZE_MAP: u32 = match map::SIZE {
    0x10_0000 => 2,
    0x20_0000 => 3,
    0x40_0000 => 4,
    _ => panic!("the SDK has no map for a flash of this size"),
};

const CALIBRATION: u32 = map::VENDOR.start;
const PARAMETERS: u32 = rf::PHY_DATA + SECTOR;
const _: () = assert!(map::VENDOR.end - PARAMETERS == 3 * SECTOR);

/// What the SDK is told of the flash. The image it knows as two areas of ours, which it leaves alone.
static PARTITIONS: [Partition; 5] = [
    Partition {
        kind: partition::CUSTOMER,
        address: 0,
        size: 0x1_0000,
    },
    Partition {
        kind: partition::CUSTOMER + 1,
        address: 0x1_0000,
        size: map::IMAGE.end - 0x1_0000,
    },
    Partition {
        kind: partition::RF_CALIBRATION,
        address: CALIBRATION,
        size: SECTOR,
    },
    Partition {
        kind: partition::PHY_DATA,
        address: rf::PHY_DATA,
        size: SECTOR,
    },
    Partition {
        kind: partition::SYSTEM_PARAMETER,
        address: PARAMETERS,
        size: 3 * SECTOR,
    },
];

/// libmain calls it first.
#[unsafe(no_mangle)]
extern "C" fn user_pre_init() {
    // Bytes and halves of words in constants and in IRAM are accessed from here on.
    handle_narrow_accesses();
    cold::clear();
    // SAFETY: the SDK keeps the address of the table, which is there for ever.
    let known = unsafe {
        sdk::system_partition_table_regist(PARTITIONS.as_ptr(), PARTITIONS.len() as u32, SIZE_MAP)
    };
    // Another size in the image's header than in the board's file, which only a tool that rewrites the header can do: nothing would be
    // where it is looked for.
    assert!(known);
}

/// Has narrow loads from flash and stores into IRAM done by our handler instead of the SDK's, which knows loads only, lets interrupts in
/// before it has read the address, and takes five times as long; and what is none by the SDK's for faults.
fn handle_narrow_accesses() {
    unsafe extern "C" fn nobody(_: *mut c_void, _: c_int) {}
    // SAFETY: the SDK has entered its handlers; the one for faults is put back at once.
    unsafe {
        let fault = sdk::_xtos_set_exception_handler(LOAD_PROHIBITED as c_int, Some(nobody));
        sdk::_xtos_set_exception_handler(LOAD_PROHIBITED as c_int, fault);
        sdk::_xtos_set_exception_handler(LOAD_STORE_ERROR as c_int, fault);
        HANDLERS
            .add(LOAD_STORE_ERROR)
            .write_volatile(xtensa_lx_rt::narrow_load());
    }
}

/// libmain calls it when the radio is calibrated; most of the SDK may be used only later.
#[unsafe(no_mangle)]
extern "C" fn user_init() {
    // The transmitter is the console's.
    sdk::system_set_os_print(0);
    wifi::keep_off();
    sdk::system_init_done_cb(start);
}

/// The SDK is ready.
extern "C" fn start() {
    stack::paint();
    time::start();
    // SAFETY: this is called once, and nobody else uses UART0. `executor::post` is in IRAM with all that it calls.
    unsafe {
        port::start(executor::post);
        sdk::ets_isr_attach(port::INTERRUPT, port::on_interrupt, core::ptr::null_mut());
    }
    sdk::ets_isr_unmask(1 << port::INTERRUPT);
    wifi::start();
    executor::run(|spawner: Spawner| {
        // It can only be that a task has been spawned before, and this comes once.
        if run::start(&spawner, run::new_network()).is_err() {
            unreachable!("each task is spawned once");
        }
        run::started(stack::high_water());
        stack::paint();
    });
}

//! The image's entry: reads the telegram, takes the figures, prints them.

use core::panic::PanicInfo;

use metertrekker::{
    p1::framing::Framer,
    reading::Reading,
    receiver::{CrcPolicy, Receiver},
    settings::Settings,
};
use xtensa_lx::semihosting;
// Start and vectors are in there.
use xtensa_lx_rt as _;

use crate::{count, stack, work};

/// The longest telegram of a meter is much shorter.
const TELEGRAM_MAX: usize = 8192;

/// Status with which the emulator ends when the telegram was not accepted.
const REFUSED: u8 = 1;
/// Status with which it ends after a panic or a fault.
const FAULTED: u8 = 3;

#[unsafe(export_name = "main")]
extern "C" fn start() -> ! {
    static mut TELEGRAM: [u8; TELEGRAM_MAX] = [0; TELEGRAM_MAX];
    // SAFETY: `start` runs once.
    let room = unsafe { &mut *&raw mut TELEGRAM };
    let length = read(room);
    let accepted = figures(&room[..length]);
    semihosting::exit(if accepted { 0 } else { REFUSED })
}

/// Standard input to its end.
fn read(room: &mut [u8]) -> usize {
    let mut length = 0;
    while let Some(rest) = room.get_mut(length..)
        && let Ok(count) = semihosting::read(semihosting::STDIN, rest)
        && count > 0
    {
        length += count;
    }
    length
}

fn figures(telegram: &[u8]) -> bool {
    let settings = Settings::default();
    let mut buffer = [0; 2048];
    say("loop", count::known_loop());
    say("bytes", telegram.len() as u32);

    let mut framer = Framer::new();
    let (count, ended) = count::instructions(|| work::frame(&mut framer, telegram));
    say("frame", count);

    let mut reading = Reading::new();
    let mut receiver = Receiver::new(CrcPolicy::Auto, &mut reading);
    // The lines of the one before are remembered; most telegrams have one before them.
    let (count, accepted) = count::instructions(|| work::receive(&mut receiver, telegram));
    say("first", count);
    let (count, again) = count::instructions(|| work::receive(&mut receiver, telegram));
    say("receive", count);
    let (depth, _) = stack::depth(|| work::receive(&mut receiver, telegram));
    say("receive-stack", depth);

    let staged = receiver.reading();
    let (count, _) = count::instructions(|| work::publish(staged, &settings, &mut buffer));
    say("publish", count);
    let (depth, _) = stack::depth(|| work::publish(staged, &settings, &mut buffer));
    say("publish-stack", depth);

    // The last digit of the CRC is what ends the wait for the meter.
    let is_text = |byte: &u8| !byte.is_ascii_whitespace();
    let last = telegram.iter().rposition(is_text).unwrap_or(0);
    let (most, end) = telegram.split_at(last);
    work::receive(&mut receiver, most);
    let (count, verdict) = count::instructions(|| work::receive(&mut receiver, end));
    say("verdict", count);
    let staged = receiver.reading();
    let (lined, length) = count::instructions(|| work::line(staged, &settings, &mut buffer));
    say("line", lined);
    say("line-bytes", length as u32);
    ended && accepted && again && verdict
}

/// Prints a figure.
fn say(name: &str, figure: u32) {
    let mut digits = *b"          \n";
    let mut left = figure;
    for place in digits[..10].iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    let _ = semihosting::write(semihosting::STDOUT, name.as_bytes());
    let _ = semihosting::write(semihosting::STDOUT, &digits);
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    semihosting::exit(FAULTED)
}

#[unsafe(no_mangle)]
extern "C" fn __fault_write(bytes: *const u8, length: usize) {
    // SAFETY: xtensa-lx-rt hands over so many bytes.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, length) };
    let _ = semihosting::write(semihosting::STDOUT, bytes);
}

#[unsafe(no_mangle)]
extern "C" fn __fault_end() -> ! {
    semihosting::exit(FAULTED)
}

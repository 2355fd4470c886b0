//! The calls.

use core::{convert::Infallible, mem::MaybeUninit, panic::PanicInfo, ptr};

use telegram::p1::{
    cipher::{Keys, Secret, Unsealer},
    crc::{Rule, Running},
    foreign::Lookout,
    framing::Framer,
    line::{self, Groups, Line},
    obis::Obis,
    timestamp::{self, Calendar, Letter},
    value::{self, FORMATTED_MAX, Number},
};
use ufmt::{uDisplay, uWrite};
// `memcpy` and its like are in there.
use xtensa_lx as _;

unsafe extern "C" {
    /// Nobody has it. Its name is what the linker then says.
    safe fn a_panic_can_be_reached() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    a_panic_can_be_reached()
}

/// What the functions are called with. It comes from outside of all that the optimizer sees.
///
/// States are any that their types can have, also those that no input leads to.
#[repr(C)]
struct Unknown<'a> {
    bytes: &'a [u8],
    other_bytes: &'a [u8],
    text: &'a str,
    room: &'a mut [u8],
    formatted: &'a mut [u8; FORMATTED_MAX],
    groups: Groups<'a>,
    number: Number,
    calendar: Calendar,
    letter: Letter,
    rule: Rule,
    running: &'a mut Running,
    framer: &'a mut Framer,
    unsealer: &'a mut Unsealer,
    lookout: &'a mut Lookout,
    keys: Option<Keys>,
    secret: Secret,
    obis: Obis,
    small: [u8; 5],
    shift: i8,
    word: u32,
    count: usize,
}

#[unsafe(export_name = "proof")]
extern "C" fn start(unknown: &mut Unknown<'_>) {
    #[cfg(feature = "panic-path")]
    keep(unknown.bytes[unknown.count]);
    of_cipher(unknown);
    of_crc(unknown);
    of_foreign(unknown);
    of_framing(unknown);
    of_line(unknown);
    of_obis(unknown);
    of_timestamp(unknown);
    of_value(unknown);
}

fn of_cipher(unknown: &mut Unknown<'_>) {
    keep(Secret::parse(unknown.text));
    unknown.secret.digits().for_each(keep);
    keep(Keys::of(Some(unknown.secret), Some(unknown.secret)));
    keep(Unsealer::clear(unknown.bytes));
    let new: &mut [Unsealer] = &mut [Unsealer::new(), Unsealer::default()];
    for unsealer in new.iter_mut().chain([&mut *unknown.unsealer]) {
        unsealer.set_keys(unknown.keys);
        keep(unsealer.is_busy());
        keep(unsealer.is_open());
        keep(unsealer.next(&mut unknown.bytes));
        keep(unsealer.ready());
        unsealer.consume(unknown.count);
        keep(unsealer.silence());
        unsealer.pass();
    }
    keep(ptr::from_ref(new));
}

fn of_crc(unknown: &mut Unknown<'_>) {
    keep(Rule::of_header(unknown.bytes));
    let mut new = Running::new(unknown.rule);
    for running in [&mut new, &mut *unknown.running] {
        running.update(unknown.bytes);
        keep(running.update_line(unknown.other_bytes));
        keep(running.value());
    }
}

fn of_foreign(unknown: &mut Unknown<'_>) {
    let mut new = Lookout::default();
    for lookout in [&mut new, &mut *unknown.lookout] {
        lookout.take(unknown.bytes);
        keep(lookout.found().map(|protocol| protocol.name()));
    }
}

fn of_framing(unknown: &mut Unknown<'_>) {
    let new: &mut [Framer] = &mut [Framer::new(), Framer::default()];
    for framer in new.iter_mut().chain([&mut *unknown.framer]) {
        keep(framer.noise());
        keep(framer.next(&mut unknown.bytes));
        keep(framer.next_out_of_line(&mut unknown.other_bytes));
        framer.interrupt();
        keep(framer.silence());
    }
    keep(ptr::from_ref(new));
}

fn of_line(unknown: &mut Unknown<'_>) {
    keep(Line::parse(unknown.bytes));
    keep(line::oddity(unknown.bytes));
    for groups in [Groups::of(unknown.bytes), unknown.groups] {
        keep(groups.quantity());
        keep(groups.single());
        keep(groups.checked());
        keep(groups.raw());
        groups.for_each(keep);
    }
}

fn of_obis(unknown: &mut Unknown<'_>) {
    let [a, b, c, d, e] = unknown.small;
    keep(Obis::new(a, b, c, d, e));
    keep(Obis::any_channel(c, d, e));
    keep(Obis::from_key(unknown.word));
    let obis = unknown.obis;
    keep(obis.key());
    keep([obis.a(), obis.b(), obis.c(), obis.d(), obis.e()]);
    keep(obis.with_channel(a));
    keep(obis.channel());
    keep(uDisplay::fmt(&obis, &mut ufmt::Formatter::new(&mut Kept)));
}

fn of_timestamp(unknown: &mut Unknown<'_>) {
    keep(timestamp::tst(unknown.bytes));
    keep(timestamp::local(unknown.word, unknown.letter));
    let [year, month, day, ..] = unknown.small.map(u32::from);
    keep(timestamp::days_in(year, month));
    keep(timestamp::days_since_1970(year, month, day));
    for calendar in [Calendar::of(unknown.word), unknown.calendar] {
        keep(calendar);
        keep(calendar.compact());
        keep(calendar.iso8601());
    }
}

fn of_value(unknown: &mut Unknown<'_>) {
    keep(value::quantity(unknown.bytes));
    keep(value::number(unknown.bytes));
    keep(value::divided_by_ten(unknown.word));
    for number in [Number::from(unknown.word), unknown.number] {
        keep(number.shifted(unknown.shift));
        keep(number.format(unknown.formatted));
        keep(number.format_as_sent(unknown.formatted));
        keep(number.write(unknown.room));
        keep(number.write_as_sent(unknown.room));
    }
}

/// Makes use of a value, whatever the optimizer thinks of it.
fn keep<T>(value: T) {
    let mut place = MaybeUninit::uninit();
    // SAFETY: the place is the function's own.
    unsafe { ptr::write_volatile(place.as_mut_ptr(), value) };
}

/// Takes text.
struct Kept;

impl uWrite for Kept {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        keep(text);
        Ok(())
    }
}

//! Bytes of the line to the lines of one telegram, with the CRC running along.
//!
//! A telegram starts at `/` and ends with a line `!` + 0 to 4 hex digits (P1 companion standard
//! 5.0.2 §6.2), whatever came before, however the bytes are cut into pieces. Each line is handed
//! out when its LF arrives, so a telegram may have any length in the room of one line.

use core::mem;

use memchr::memchr;

use super::crc::{Rule, Running};

/// The longest legal line: `0-0:96.13.0(` + 2048 hex digits + `)` CR LF (P1 companion standard
/// 5.0.2 §6.12), with a little room for a longer id.
pub const LINE_MAX: usize = 2112;

/// The shortest header that is taken for one: manufacturer and baud character.
const HEADER_MIN: usize = 3;

/// What the framer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A telegram begins; its header line without the leading `/`.
    Start(&'a [u8]),
    /// A further line of the telegram, without its line end; may be empty.
    Line(&'a [u8]),
    /// The telegram's last line has come.
    End(End),
    /// A telegram had begun and is given up.
    Dropped(Dropped),
}

/// The end of a telegram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The CRC that the meter printed.
    pub given: Given,
    /// The CRC of the bytes from `/` through `!`.
    pub computed: u16,
    /// Length from `/` to the last byte of the end line.
    pub bytes: u32,
    /// All lines ended in CR LF. Where they did not, the capture has lost its CRs on the way, and
    /// the CRC, which counts them, cannot match.
    pub crlf: bool,
}

/// What stands behind the `!`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// One to four hex digits of either case; Warmtelink meters print no leading zeros.
    Crc(u16),
    /// Nothing: DSMR 2.2 and 3.0.
    Nothing,
    /// Something else: the line was damaged.
    Garbage,
}

/// A telegram that was begun and given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Why.
    pub reason: DropReason,
    /// How many of its bytes had come.
    pub bytes: u32,
}

/// Why a begun telegram was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Another header, silence or the input's end came before its last line.
    Truncated,
    /// A line longer than [`LINE_MAX`].
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between telegrams: everything but `/` is noise.
    Idle,
    /// `/` was seen; the rest of the header line is awaited.
    Header,
    /// After the header.
    Body,
}

/// A second finding in a line of which the first has been handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    /// A telegram begins here, right behind a cut-off one.
    Header(usize),
    /// The telegram's end mark, glued to its last object.
    End(usize),
}

/// The framing state machine: feed it with [`next`](Framer::next).
///
/// RAM: [`LINE_MAX`] bytes and a few words.
// In this order, since the chip reaches what is near a structure's start with shorter code.
#[repr(C)]
pub struct Framer {
    /// How many bytes of `line` are still to be used; none once the line has been handed out.
    filled: usize,
    /// What the handed-out line holds besides.
    pending: Option<Pending>,
    /// All lines of this telegram ended in CR LF.
    crlf: bool,
    state: State,
    /// Over what has come of the telegram.
    crc: Running,
    /// Over all but the line in the buffer: only up to a mark in it, if it ends the telegram.
    crc_before: Running,
    bytes: u32,
    noise: u32,
    line: [u8; LINE_MAX],
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// A framer that waits for the first `/`.
    pub fn new() -> Self {
        Self {
            line: [0; LINE_MAX],
            filled: 0,
            pending: None,
            crlf: true,
            state: State::Idle,
            crc: Running::new(Rule::Arc),
            crc_before: Running::new(Rule::Arc),
            bytes: 0,
            noise: 0,
        }
    }

    /// Bytes outside of any telegram so far.
    pub fn noise(&self) -> u32 {
        self.noise
    }

    /// [`next`](Self::next) for those who seldom need it.
    #[inline(never)]
    pub fn next_out_of_line<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Event<'s>> {
        self.next(input)
    }

    /// Takes bytes from the front of `input` until something is found. `None`: all are taken.
    #[inline(always)]
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Event<'s>> {
        if let Some(pending) = self.pending {
            return Some(self.second(pending));
        }
        if self.state != State::Body {
            return self.header(input);
        }
        let (taken, ended) = self.crc.update_line(input);
        let (line, rest) = input.split_at_checked(taken)?;
        // Nearly every line is an object, and most come whole: they are read where they are.
        if self.filled == 0
            && let [text @ .., b'\r', b'\n'] = line
            && text.last() == Some(&b')')
            && taken <= LINE_MAX
        {
            *input = rest;
            self.line_done(taken);
            return Some(Event::Line(text));
        }
        if !self.collect(taken, input) {
            return Some(Event::Dropped(self.give_up(DropReason::TooLong, LINE_MAX)));
        }
        match ended {
            true => Some(self.body_line()),
            false => None,
        }
    }

    /// Moves so many bytes from the front of `input` to the line; false when that is too long for a line, of which then
    /// the most is taken.
    #[inline(always)]
    fn collect(&mut self, count: usize, input: &mut &[u8]) -> bool {
        let filled = self.filled + count;
        if let Some(place) = self.line.get_mut(self.filled..filled)
            && let Some((piece, rest)) = input.split_at_checked(count)
        {
            place.copy_from_slice(piece);
            self.filled = filled;
            *input = rest;
            return true;
        }
        let room = LINE_MAX.saturating_sub(self.filled);
        *input = input.get(room..).unwrap_or_default();
        false
    }

    /// Looks for a telegram's beginning.
    #[inline(never)]
    fn header(&mut self, input: &mut &[u8]) -> Option<Event<'_>> {
        loop {
            if self.state == State::Idle && !self.skip_noise(input) {
                return None;
            }
            let end = memchr(b'\n', input);
            if !self.collect(end.map_or(input.len(), |at| at + 1), input) {
                return Some(Event::Dropped(self.give_up(DropReason::TooLong, LINE_MAX)));
            }
            end?;
            if self.find_header() {
                return Some(Event::Start(self.start()));
            }
            self.back_to_noise();
        }
    }

    /// Tells the framer that nothing more comes for now: the line has been silent, or the input
    /// has ended. Call it until it returns `None`. A last line counts although its line end is
    /// missing.
    pub fn silence(&mut self) -> Option<Event<'_>> {
        if let Some(pending) = self.pending {
            return Some(self.second(pending));
        }
        if self.state == State::Body && end_mark(trimmed(self.filled())).is_some() {
            return Some(self.last_line());
        }
        if self.state == State::Header && !self.find_header() {
            self.back_to_noise();
        }
        if self.state == State::Idle {
            return None;
        }
        Some(Event::Dropped(
            self.give_up(DropReason::Truncated, self.filled),
        ))
    }

    /// What has come of the line.
    #[inline(always)]
    fn filled(&self) -> &[u8] {
        self.line.get(..self.filled).unwrap_or_default()
    }

    /// Moves what comes behind so many bytes of the line to its front.
    fn drop_front(&mut self, count: usize) {
        if let Some(line) = self.line.get_mut(..self.filled)
            && count <= line.len()
        {
            line.copy_within(count.., 0);
            self.filled -= count;
        }
    }

    /// What comes next is no more of the header that may have begun.
    pub fn interrupt(&mut self) {
        if self.state == State::Header {
            self.back_to_noise();
        }
    }

    /// Skips to the next `/`; false when there is none.
    fn skip_noise(&mut self, input: &mut &[u8]) -> bool {
        let found = memchr(b'/', input).and_then(|at| input.split_at_checked(at));
        let (noise, rest) = found.unwrap_or((input, &[]));
        self.noise = self.noise.saturating_add(noise.len() as u32);
        *input = rest;
        if found.is_some() {
            self.state = State::Header;
        }
        found.is_some()
    }

    /// Finds where the header in the line buffer really begins and moves it to the front; false
    /// when there is none. Noise ahead of a telegram may hold a `/` of its own, and so may a header
    /// (Holley): what follows the last byte that no header contains counts, and in that the first `/`
    /// with the letters of a manufacturer.
    fn find_header(&mut self) -> bool {
        let text = trimmed(self.filled());
        let slashes = || slashes_from(clean_from(text), text);
        let lettered = slashes().find(|&at| at + HEADER_MIN < text.len() && is_lettered(text, at));
        let Some(start) = lettered.or_else(|| slashes().next()) else {
            return false;
        };
        if text.len() - start <= HEADER_MIN {
            return false;
        }
        self.noise = self.noise.saturating_add(start as u32);
        self.drop_front(start);
        true
    }

    /// What was taken for a header is noise.
    fn back_to_noise(&mut self) {
        self.noise = self.noise.saturating_add(self.filled as u32);
        self.filled = 0;
        self.state = State::Idle;
    }

    /// What the line holds besides that which has been handed out.
    #[cold]
    fn second(&mut self, pending: Pending) -> Event<'_> {
        self.pending = None;
        match pending {
            Pending::Header(at) => {
                self.drop_front(at);
                Event::Start(self.start())
            }
            Pending::End(at) => Event::End(self.end(at)),
        }
    }

    /// The header line is complete at the front of the buffer.
    fn start(&mut self) -> &[u8] {
        let filled = mem::take(&mut self.filled);
        let line = self.line.get(..filled).unwrap_or_default();
        let header = trimmed(line.get(1..).unwrap_or_default());
        self.crc = Running::new(Rule::of_header(header));
        self.crc.update(line);
        self.crc_before = self.crc.clone();
        self.crlf = line.ends_with(b"\r\n");
        self.bytes = line.len() as u32;
        self.state = State::Body;
        header
    }

    /// The line is complete in the buffer.
    #[inline(always)]
    fn body_line(&mut self) -> Event<'_> {
        let filled = self.filled;
        // Nearly every line is an object.
        if let Some([.., b')', b'\r', b'\n']) = self.line.get(..filled) {
            self.line_done(filled);
            return Event::Line(self.line.get(..filled - 2).unwrap_or_default());
        }
        self.other_line()
    }

    /// The same, where it is done once.
    #[cold]
    fn last_line(&mut self) -> Event<'_> {
        self.other_line()
    }

    #[inline(always)]
    fn other_line(&mut self) -> Event<'_> {
        let line = self.filled();
        let (text, crlf) = match line {
            [text @ .., b'\r', b'\n'] => (text, true),
            line => (trimmed(line), false),
        };
        // An object cannot be an end or hold a header.
        if text.last().is_some_and(|last| *last != b')') {
            if let Some(at) = end_mark(text) {
                if at == 0 {
                    return Event::End(self.end(0));
                }
                self.pending = Some(Pending::End(at));
                return Event::Line(self.line.get(..at).unwrap_or_default());
            }
            if let Some(at) = header_within(text) {
                self.pending = Some(Pending::Header(at));
                let bytes = self.bytes + at as u32;
                let reason = DropReason::Truncated;
                return Event::Dropped(Dropped { reason, bytes });
            }
        }
        let length = text.len();
        self.crlf &= crlf;
        self.line_done(self.filled);
        Event::Line(self.line.get(..length).unwrap_or_default())
    }

    /// The line of so many bytes is part of the telegram.
    #[inline]
    fn line_done(&mut self, bytes: usize) {
        self.crc_before = self.crc.clone();
        self.bytes += bytes as u32;
        self.filled = 0;
    }

    /// The telegram's end mark stands at `at` of the line in the buffer.
    fn end(&mut self, at: usize) -> End {
        let filled = mem::take(&mut self.filled);
        let text = trimmed(self.line.get(..filled).unwrap_or_default());
        let (counted, check) = text.split_at_checked(at + 1).unwrap_or((text, &[]));
        let mut crc = self.crc_before.clone();
        crc.update(counted);
        self.state = State::Idle;
        End {
            given: given(check),
            computed: crc.value(),
            bytes: self.bytes + text.len() as u32,
            crlf: self.crlf,
        }
    }

    /// Gives the telegram up with `pending` bytes of it in the line buffer.
    fn give_up(&mut self, reason: DropReason, pending: usize) -> Dropped {
        let begun = if self.state == State::Body {
            self.bytes
        } else {
            0
        };
        let bytes = begun + pending as u32;
        self.filled = 0;
        self.state = State::Idle;
        Dropped { reason, bytes }
    }
}

/// The line without CR and LF at its end.
#[inline]
fn trimmed(line: &[u8]) -> &[u8] {
    match line {
        [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] | [text @ .., b'\r'] => text,
        text => text,
    }
}

/// Where the `!` stands in a line that ends a telegram: at its start, or glued to the last object.
fn end_mark(text: &[u8]) -> Option<usize> {
    if text.first() == Some(&b'!') {
        return Some(0);
    }
    let mark = memchr::memrchr(b'!', text)?;
    let (object, [_, check @ ..]) = text.split_at_checked(mark)? else {
        return None;
    };
    let glued = object.last() == Some(&b')') && given(check) != Given::Garbage;
    glued.then_some(mark)
}

/// Where a header begins in the middle of a line that is no object: the telegram before it was cut
/// off without a line end. A header is told from a stray `/` by the manufacturer's letters.
///
/// Between the two there may be noise with a `/` of its own, so what follows the last byte that no
/// header contains is looked at first.
fn header_within(text: &[u8]) -> Option<usize> {
    let before = |at: usize| at.checked_sub(1).and_then(|before| text.get(before));
    let begins = |at: &usize| is_lettered(text, *at) && before(*at) != Some(&b'/');
    let first = text.first() == Some(&b'/');
    slashes_from(clean_from(text), text)
        .find(begins)
        .or(first.then_some(0))
        .or_else(|| slashes_from(0, text).find(begins))
}

/// Where the bytes begin that a header may contain and that nothing else interrupts.
fn clean_from(text: &[u8]) -> usize {
    let unprintable = text.iter().rposition(|b| !(0x20..0x7F).contains(b));
    unprintable.map_or(0, |at| at + 1)
}

fn slashes_from(start: usize, text: &[u8]) -> impl Iterator<Item = usize> {
    let text = text.get(start..).unwrap_or_default();
    memchr::memchr_iter(b'/', text).map(move |at| start + at)
}

/// Whether the `/` at `at` has the first letters of a manufacturer behind it.
fn is_lettered(text: &[u8], at: usize) -> bool {
    text.get(at + 1..=at + 2)
        .is_some_and(|id| id.iter().all(u8::is_ascii_alphabetic))
}

fn given(text: &[u8]) -> Given {
    let text = text.trim_ascii_end();
    if text.is_empty() {
        return Given::Nothing;
    }
    if text.len() > 4 {
        return Given::Garbage;
    }
    let mut value = 0;
    for &digit in text {
        match (digit as char).to_digit(16) {
            Some(nibble) => value = value << 4 | nibble as u16,
            None => return Given::Garbage,
        }
    }
    Given::Crc(value)
}

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec, vec::Vec};

    use super::*;

    /// Everything that a framer finds in `input`, fed in pieces of `piece` bytes, one line each.
    fn found_in_pieces(input: &[u8], piece: usize) -> Vec<String> {
        let mut framer = Framer::new();
        let mut found = vec![];
        for mut bytes in input.chunks(piece) {
            while let Some(event) = framer.next(&mut bytes) {
                found.push(show(event));
            }
            assert!(bytes.is_empty());
        }
        while let Some(event) = framer.silence() {
            found.push(show(event));
        }
        found
    }

    fn found(input: &[u8]) -> Vec<String> {
        found_in_pieces(input, input.len().max(1))
    }

    fn show(event: Event<'_>) -> String {
        match event {
            Event::Start(header) => format!("start {}", header.escape_ascii()),
            Event::Line(line) if line.len() > 60 => format!("line of {}", line.len()),
            Event::Line(line) => format!("line {}", line.escape_ascii()),
            Event::End(End {
                given: Given::Crc(given),
                computed,
                ..
            }) => {
                format!(
                    "end {given:04X} {}",
                    if given == computed { "ok" } else { "bad" }
                )
            }
            Event::End(end) => format!("end {:?}", end.given),
            Event::Dropped(Dropped { reason, bytes }) => format!("{reason:?} after {bytes}"),
        }
    }

    /// A telegram with its right CRC behind it.
    fn telegram(body: &str) -> Vec<u8> {
        let mut crc = Running::new(Rule::of_header(&body.as_bytes()[1..]));
        crc.update(body.as_bytes());
        format!("{body}{:04X}\r\n", crc.value()).into_bytes()
    }

    const SMALL: &str = "/ABC5x\r\n\r\n1-0:1.8.1(1*kWh)\r\n!";

    #[test]
    fn a_telegram_is_its_header_its_lines_and_its_end() {
        let expected = [
            "start ABC5x",
            "line ",
            "line 1-0:1.8.1(1*kWh)",
            "end 59E6 ok",
        ];
        assert_eq!(found(&telegram(SMALL)), expected);
    }

    #[test]
    fn every_fragmentation_gives_the_same() {
        let mut input = b"noise\0/".to_vec();
        input.extend(telegram(SMALL));
        input.extend(b"/ABC5x\r\n1-0:1.8.1(0/XYZ5y\r\n0-0:96.13.0(2F)\r\n(1)!\r\n\xff");
        input.extend([b'x'; 3000]);
        input.extend(b"/DEF5\r\n!12\r\n");
        let whole = found(&input);
        for piece in 1..input.len() {
            assert_eq!(
                found_in_pieces(&input, piece),
                whole,
                "in pieces of {piece}"
            );
        }
        assert_eq!(whole.len(), 12, "{whole:#?}");
    }

    #[test]
    fn the_crc_is_compared_as_a_number() {
        for end in ["0B9F", "B9F", "0b9f", "b9F"] {
            let input = format!("/ABC5x\r\n!{end}\r\n");
            assert!(found(input.as_bytes())[1].starts_with("end 0B9F"), "{end}");
        }
        for end in ["12345", "xyz", "12 3"] {
            let input = format!("/ABC5x\r\n!{end}\r\n");
            assert_eq!(found(input.as_bytes())[1], "end Garbage", "{end}");
        }
        assert_eq!(found(b"/ABC5x\r\n!\r\n")[1], "end Nothing");
    }

    #[test]
    fn holley_meters_have_a_slash_in_the_header_and_another_crc() {
        let input = telegram("/HLY5/D545-METER\r\n\r\n1-0:1.8.1(1*kWh)\r\n!");
        let found = found(&input);
        assert_eq!(found[0], "start HLY5/D545-METER");
        assert!(found[3].ends_with("ok"), "{found:?}");
    }

    #[test]
    fn the_last_object_may_be_glued_to_the_end() {
        let input = telegram("/ABC5x\r\n\r\n1-0:31.7.0(123.1*A)!");
        assert_eq!(found(&input)[2], "line 1-0:31.7.0(123.1*A)");
        assert!(found(&input)[3].ends_with("ok"));
    }

    #[test]
    fn noise_ahead_may_hold_a_slash_and_need_not_end_its_line() {
        for noise in [
            &b"\0\xff\0"[..],
            b"1/2\0",
            b"/\x01",
            b"/",
            b"\xff/!/12/",
            b"/a\r\n",
            b"12345*kWh)\r\n!AB\r\n",
        ] {
            let input = [noise, &telegram(SMALL)].concat();
            let found = found(&input);
            assert_eq!(
                found.last().unwrap(),
                "end 59E6 ok",
                "{}",
                noise.escape_ascii()
            );
        }
    }

    #[test]
    fn a_new_header_ends_a_cut_off_telegram() {
        for cut in [
            "/ABC5x\r\n",
            "/ABC5x\r\n1-0:1.8.1(0",
            "/ABC5x\r\n1-0:1.8.1(0*kWh)",
        ] {
            let input = [cut.as_bytes(), &telegram(SMALL)].concat();
            let found = found(&input);
            let drop = format!("Truncated after {}", cut.len());
            assert!(found.contains(&drop), "{found:?}");
            assert_eq!(found.last().unwrap(), "end 59E6 ok", "{cut:?}");
        }
    }

    #[test]
    fn noise_behind_a_cut_off_telegram_may_hold_a_slash() {
        for noise in [&b"\x80/\xff"[..], b"/ab\0", b"\0\r\n/XYZ\x80"] {
            let input = [&b"/ABC5x\r\n1-0:1.8.1(0"[..], noise, &telegram(SMALL)].concat();
            let noise = noise.escape_ascii();
            assert_eq!(found(&input).last().unwrap(), "end 59E6 ok", "{noise}");
        }
    }

    #[test]
    fn a_slash_within_a_value_is_no_header() {
        let input = telegram("/ABC5x\r\n0-0:96.1.1(AB/CDE)\r\n0-0:96.1.1(x) // low\r\n!");
        assert!(found(&input)[3].ends_with("ok"), "{:?}", found(&input));
    }

    #[test]
    fn silence_ends_what_was_begun() {
        assert_eq!(
            found(b"/ABC5x\r\n1-0:1.8"),
            ["start ABC5x", "Truncated after 15"]
        );
        assert_eq!(found(b"/ABC"), ["Truncated after 4"]);
        assert_eq!(found(b"noise"), [""; 0]);
        let end_line_cut = &telegram(SMALL)[..SMALL.len() + 4];
        assert_eq!(found(end_line_cut).last().unwrap(), "end 59E6 ok");
    }

    #[test]
    fn a_line_too_long_costs_its_telegram_and_no_more() {
        let mut input = b"/ABC5x\r\n0-0:96.13.0(".to_vec();
        input.extend([b'4'; LINE_MAX]);
        input.extend(b")\r\n1-0:1.8.1(1)\r\n!\r\n");
        input.extend(telegram(SMALL));
        let found = found(&input);
        assert_eq!(found[1], format!("TooLong after {}", 8 + LINE_MAX));
        assert_eq!(found.last().unwrap(), "end 59E6 ok");
    }

    #[test]
    fn the_longest_legal_line_fits() {
        let text = format!("/ABC5x\r\n0-0:96.13.0({})\r\n!", "30".repeat(1024));
        assert_eq!(found(&telegram(&text))[1], "line of 2061");
    }

    #[test]
    fn lost_carriage_returns_are_noticed() {
        let mut framer = Framer::new();
        let mut input = &b"/ABC5x\n\n1-0:1.8.1(1*kWh)\n!59E6\n"[..];
        let end = core::iter::from_fn(|| {
            framer.next(&mut input).map(|event| match event {
                Event::End(end) => Some(end),
                _ => None,
            })
        });
        let end = end.flatten().next().unwrap();
        assert!(!end.crlf);
    }

    #[test]
    fn noise_is_counted() {
        let mut framer = Framer::new();
        let mut input = &b"12345\r\n/a\r\n/ABC5x\r\n"[..];
        while framer.next(&mut input).is_some() {}
        assert_eq!(framer.noise(), 11);
    }
}

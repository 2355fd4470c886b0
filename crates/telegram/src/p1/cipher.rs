//! Encrypted frames to the telegram inside, block by block as they come: the ports of Luxembourg and Austria.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | `DB`, general-glo-ciphering |
//! | 1 + 8 | `08` and the system title |
//! | 1 to 3 | length L of what follows, in the short or a long form of BER |
//! | 1 | `30`, encrypted and authenticated |
//! | 4 | frame counter |
//! | L - 17 | ciphertext |
//! | 12 | tag |
//!
//! AES-128-GCM (NIST SP 800-38D): the IV is system title and frame counter, the additional data the byte `30` and the
//! authentication key (DLMS Green Book, security suite 0; Luxembourg's P1 specification 1.1.3). Counters need not grow.

use core::fmt;

use gcm::{BLOCK, IV, KEY, Opener};
use memchr::memchr;

/// The first byte of a frame.
const START: u8 = 0xDB;

/// Bytes of the system title.
const TITLE: usize = 8;

/// Encrypted and authenticated.
const CONTROL: u8 = 0x30;

/// Bytes of the tag, which is cut.
const TAG: usize = 12;

/// The longest header: with two bytes of length.
const HEADER_MAX: usize = 18;

/// What the length counts beside the ciphertext: control byte, counter, tag.
const OVERHEAD: usize = 1 + 4 + TAG;

/// The longest ciphertext that is believed: more than twice the longest telegram that any standard allows.
const TEXT_MAX: usize = 8192;

/// A key, which is not to be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; KEY]);

impl Secret {
    /// Luxembourg's authentication key, which is the same for all meters and known to all.
    pub const LUXEMBOURG: Self = Self([
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE,
        0xFF,
    ]);

    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != KEY || !rest.is_empty() {
            return None;
        }
        let mut key = [0; KEY];
        for (byte, [high, low]) in key.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
        }
        Some(Self(key))
    }

    /// As [`parse`](Self::parse) takes it.
    pub fn digits(&self) -> impl Iterator<Item = char> {
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a meter's frames are opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The meter's own, from the grid operator.
    pub encryption: Secret,
    /// In Austria from the grid operator too; `None` is Luxembourg's, or no additional data at all, as some meters'
    /// frames have it.
    pub authentication: Option<Secret>,
}

impl Keys {
    /// Those of a user: none without the first.
    pub fn of(encryption: Option<Secret>, authentication: Option<Secret>) -> Option<Self> {
        Some(Self {
            encryption: encryption?,
            authentication,
        })
    }
}

/// How a frame ended, or what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// All of it has come.
    Whole {
        /// Its tag is that of its keys and content.
        authentic: bool,
        /// Its length.
        bytes: u32,
    },
    /// Another frame begins where it should go on.
    Cut {
        /// So much of it had come.
        bytes: u32,
    },
    /// There is no key.
    NoKey {
        /// Its length.
        bytes: u32,
    },
    /// What the key makes of it is no text.
    WrongKey {
        /// Its length.
        bytes: u32,
    },
}

/// What a frame says of itself.
#[derive(Clone, Copy)]
struct Header {
    /// System title and frame counter.
    iv: [u8; IV],
    /// Bytes of the ciphertext.
    text: u16,
    /// Bytes of the header.
    length: u8,
}

impl Header {
    fn bytes(&self) -> u32 {
        u32::from(self.length) + u32::from(self.text) + TAG as u32
    }

    fn title(&self) -> &[u8] {
        self.iv.split_at(TITLE).0
    }
}

/// What bytes may be the first of.
enum Look {
    Nothing,
    Beginning,
    Header(Header),
}

fn look(bytes: &[u8]) -> Look {
    let [START, rest @ ..] = bytes else {
        return Look::Nothing;
    };
    const LENGTH: u8 = TITLE as u8;
    let [LENGTH, rest @ ..] = rest else {
        return beginning(rest);
    };
    let Some((title, rest)) = rest.split_first_chunk::<TITLE>() else {
        return Look::Beginning;
    };
    let (length, rest) = match rest {
        [] | [0x81] | [0x82] | [0x82, _] => return Look::Beginning,
        [0x81, length, rest @ ..] => (u16::from(*length), rest),
        [0x82, high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        [length @ ..=0x7F, rest @ ..] => (u16::from(*length), rest),
        _ => return Look::Nothing,
    };
    let text = usize::from(length).saturating_sub(OVERHEAD);
    if !(1..=TEXT_MAX).contains(&text) {
        return Look::Nothing;
    }
    let [CONTROL, rest @ ..] = rest else {
        return beginning(rest);
    };
    let Some((counter, _)) = rest.split_first_chunk::<4>() else {
        return Look::Beginning;
    };
    let mut iv = [0; IV];
    for (place, byte) in iv.iter_mut().zip(title.iter().chain(counter)) {
        *place = *byte;
    }
    Look::Header(Header {
        iv,
        text: text as u16,
        length: bytes.len() as u8,
    })
}

/// What did not match was not there yet, or was another byte.
fn beginning(rest: &[u8]) -> Look {
    match rest {
        [] => Look::Beginning,
        _ => Look::Nothing,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No frame has begun; the first bytes of one may be held.
    Between,
    /// So many bytes of ciphertext are still to come.
    Text(u16),
    /// So many bytes of the tag.
    Tag(u16),
    /// So many bytes of a frame that cannot be read.
    Passing(u16),
}

/// Opens frames: feed it with [`next`](Unsealer::next). RAM: 0.6 kB.
pub struct Unsealer {
    keys: Option<Keys>,
    state: State,
    /// The last bytes, as far as a frame may begin with them.
    held: heapless::Vec<u8, HEADER_MAX>,
    /// What is to be read, from `read` on: plaintext, or bytes that are none of a frame after all.
    ready: heapless::Vec<u8, HEADER_MAX>,
    read: usize,
    header: Header,
    /// What has come of a block, or of the tag.
    block: heapless::Vec<u8, BLOCK>,
    opener: Opener,
}

impl Default for Unsealer {
    fn default() -> Self {
        Self::new()
    }
}

impl Unsealer {
    /// Without keys: frames are noticed, and nothing more.
    pub fn new() -> Self {
        Self {
            keys: None,
            state: State::Between,
            held: heapless::Vec::new(),
            ready: heapless::Vec::new(),
            read: 0,
            header: Header {
                iv: [0; IV],
                text: 0,
                length: 0,
            },
            block: heapless::Vec::new(),
            opener: Opener::new(),
        }
    }

    /// Opens frames with these, from the next one on.
    pub fn set_keys(&mut self, keys: Option<Keys>) {
        self.keys = keys;
    }

    /// A frame has begun, or may have.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.state != State::Between || !self.held.is_empty() || !self.ready.is_empty()
    }

    /// How many bytes at the front of `input` are before any frame, when none is under way.
    pub fn clear(input: &[u8]) -> usize {
        memchr(START, input).unwrap_or(input.len())
    }

    /// Whether what is [`ready`](Self::ready) came out of a frame.
    pub fn is_open(&self) -> bool {
        self.state != State::Between
    }

    /// Bytes to be read.
    pub fn ready(&self) -> &[u8] {
        self.ready.get(self.read..).unwrap_or_default()
    }

    /// So many of them have been.
    pub fn consume(&mut self, count: usize) {
        self.read += count;
        if self.read >= self.ready.len() {
            self.ready.clear();
            self.read = 0;
        }
    }

    /// Takes bytes from the front of `input` until there are some [`ready`](Self::ready), a frame's fate is known, no
    /// frame has begun after all, or all are taken. What is ready has to be [consumed](Self::consume) before.
    #[inline(never)]
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Fate> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            let fate = match self.look_out(*byte) {
                Some(header) => self.begin(header),
                None => self.take(*byte),
            };
            if fate.is_some() || !self.ready.is_empty() || !self.is_busy() {
                return fate;
            }
        }
        None
    }

    /// The line is silent: gives up what has begun, and says how much had come of a frame that could be opened. What
    /// was held for a frame's first bytes is [`ready`](Self::ready) then.
    pub fn silence(&mut self) -> Option<u32> {
        let cut = matches!(self.state, State::Text(_) | State::Tag(_)).then(|| self.taken());
        if self.state == State::Between {
            self.release(self.held.len());
        } else {
            self.end();
            self.held.clear();
        }
        cut
    }

    /// Passes what is left of the frame: nothing more of it is wanted.
    pub fn pass(&mut self) {
        let left = self.left();
        self.end();
        if left > 0 {
            self.state = State::Passing(left);
        }
    }

    fn end(&mut self) {
        self.state = State::Between;
        self.opener.cancel();
        self.block.clear();
        self.ready.clear();
        self.read = 0;
    }

    /// Bytes of the frame that are still to come.
    fn left(&self) -> u16 {
        match self.state {
            State::Between => 0,
            State::Text(left) => left + TAG as u16,
            State::Tag(left) | State::Passing(left) => left,
        }
    }

    /// Bytes of the frame that have come.
    fn taken(&self) -> u32 {
        self.header.bytes() - u32::from(self.left())
    }

    /// A header that ends with this byte; also looked for within a frame, which may have been cut off.
    fn look_out(&mut self, byte: u8) -> Option<Header> {
        // It never has more than a header has.
        let _ = self.held.push(byte);
        loop {
            let next = self.held.iter().skip(1).position(|byte| *byte == START);
            let next = next.map_or(self.held.len(), |next| next + 1);
            match look(&self.held) {
                Look::Beginning => return None,
                Look::Header(header) => {
                    // It may have been cut off, and its last bytes be another's first.
                    self.drop_held(next);
                    // Within a frame that can be read any bytes may come, but hardly its own title.
                    let is_open = matches!(self.state, State::Text(_) | State::Tag(_));
                    let is_other = header.title() != self.header.title();
                    return (!is_open || !is_other).then_some(header);
                }
                Look::Nothing => {
                    self.release(next);
                    if self.held.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    /// So many of the bytes held are not a header's: between frames they are to be read.
    fn release(&mut self, count: usize) {
        let bytes = self.held.get(..count).unwrap_or_default();
        if self.state == State::Between {
            // Nothing is held while something is ready, and neither is longer than a header.
            let _ = self.ready.extend_from_slice(bytes);
        }
        self.drop_held(count);
    }

    fn drop_held(&mut self, count: usize) {
        let kept = self.held.get(count..).unwrap_or_default();
        self.held = heapless::Vec::from_slice(kept).unwrap_or_default();
    }

    fn begin(&mut self, header: Header) -> Option<Fate> {
        let is_cut = matches!(self.state, State::Text(_) | State::Tag(_));
        // All but the last of the new header's bytes were taken for the old frame's.
        let bytes = (self.taken() + 1).saturating_sub(header.length.into());
        self.end();
        self.header = header;
        let Some(keys) = &self.keys else {
            self.state = State::Passing(header.text + TAG as u16);
            let bytes = header.bytes();
            return Some(Fate::NoKey { bytes });
        };
        let mut additional = [CONTROL; KEY + 1];
        let [_, rest @ ..] = &mut additional;
        *rest = keys.authentication.unwrap_or(Secret::LUXEMBOURG).0;
        let or_none = keys.authentication.is_none();
        let iv = self.header.iv;
        self.opener
            .begin(&keys.encryption.0, iv, &additional, or_none);
        self.state = State::Text(header.text);
        is_cut.then_some(Fate::Cut { bytes })
    }

    fn take(&mut self, byte: u8) -> Option<Fate> {
        let bytes = self.header.bytes();
        match self.state {
            State::Between => {}
            State::Passing(left) if left > 1 => self.state = State::Passing(left - 1),
            State::Passing(_) => self.end(),
            State::Text(left) => {
                // It is emptied whenever it is full.
                let _ = self.block.push(byte);
                let left = left - 1;
                self.state = match left {
                    0 => State::Tag(TAG as u16),
                    left => State::Text(left),
                };
                if left == 0 || self.block.is_full() {
                    return self.open();
                }
            }
            State::Tag(left) => {
                let _ = self.block.push(byte);
                self.state = State::Tag(left - 1);
                if left == 1 {
                    let authentic = self.opener.end(&self.block);
                    self.end();
                    return Some(Fate::Whole { authentic, bytes });
                }
            }
        }
        None
    }

    /// Makes a block ready.
    fn open(&mut self) -> Option<Fate> {
        let is_first = self.opener.opened() == 0;
        self.opener.open(&mut self.block);
        if is_first && !self.block.iter().all(|byte| is_text(*byte)) {
            let bytes = self.header.bytes();
            self.pass();
            return Some(Fate::WrongKey { bytes });
        }
        self.ready.clear();
        // A block is shorter than a header.
        let _ = self.ready.extend_from_slice(&self.block);
        self.block.clear();
        None
    }
}

/// What a telegram begins with. Later there may be any byte.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b' '..=b'~')
}

//! Sixteen bytes at a time from tables of 8 kB, and the line end by the machine's widest registers.

use crc::{CRC_16_ARC, CRC_16_IBM_SDLC, Crc, Table};
use memchr::memchr;

use super::Rule;

static ARC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_ARC);
static X25: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_IBM_SDLC);

#[derive(Clone)]
pub struct Digest(crc::Digest<'static, u16, Table<16>>);

impl Digest {
    pub fn new(rule: Rule) -> Self {
        Self(match rule {
            Rule::Arc => ARC.digest(),
            Rule::X25 => X25.digest(),
        })
    }

    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    #[inline]
    pub fn update_line(&mut self, bytes: &[u8]) -> (usize, bool) {
        let (taken, ended) = match memchr(b'\n', bytes) {
            Some(at) => (at + 1, true),
            None => (bytes.len(), false),
        };
        self.update(&bytes[..taken]);
        (taken, ended)
    }

    pub fn value(&self) -> u16 {
        self.0.clone().finalize()
    }
}

//! A byte at a time from a kilobyte of table, where every byte is looked at but once.

use crc::{Algorithm, CRC_16_ARC, CRC_16_IBM_SDLC};

use super::Rule;

/// Words, which the chip can load from flash.
type Table = [u32; 256];

static ARC: Table = table(&CRC_16_ARC);
static X25: Table = table(&CRC_16_IBM_SDLC);

/// The table of a reflected CRC.
const fn table(algorithm: &Algorithm<u16>) -> Table {
    assert!(algorithm.refin && algorithm.refout);
    let poly = algorithm.poly.reverse_bits();
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let mut value = at as u16;
        let mut bit = 0;
        while bit < 8 {
            let carry = value & 1;
            value = (value >> 1) ^ (carry * poly);
            bit += 1;
        }
        table[at] = value as u32;
        at += 1;
    }
    table
}

#[derive(Clone)]
pub struct Digest {
    table: &'static Table,
    /// 16 bits in the width of a register.
    value: u32,
    last: u16,
}

impl Digest {
    pub fn new(rule: Rule) -> Self {
        let (table, algorithm) = match rule {
            Rule::Arc => (&ARC, &CRC_16_ARC),
            Rule::X25 => (&X25, &CRC_16_IBM_SDLC),
        };
        Self {
            table,
            value: u32::from(algorithm.init.reverse_bits()),
            last: algorithm.xorout,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.value = stepped(self.table, self.value, byte);
        }
    }

    // In a function of its own the loop has the registers to itself.
    #[inline(never)]
    pub fn update_line(&mut self, bytes: &[u8]) -> (usize, bool) {
        let (table, mut value) = (self.table, self.value);
        let mut rest = bytes;
        // By eights, which spares the chip most looks at how many are left.
        while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
            for (at, byte) in eight.iter().enumerate() {
                value = stepped(table, value, *byte);
                if *byte == b'\n' {
                    self.value = value;
                    return (bytes.len() - rest.len() + at + 1, true);
                }
            }
            rest = behind;
        }
        let is_last = |byte: &u8| {
            value = stepped(table, value, *byte);
            *byte == b'\n'
        };
        let last = rest.iter().position(is_last);
        self.value = value;
        match last {
            Some(at) => (bytes.len() - rest.len() + at + 1, true),
            None => (bytes.len(), false),
        }
    }

    pub fn value(&self) -> u16 {
        self.value as u16 ^ self.last
    }
}

#[inline(always)]
fn stepped(table: &Table, value: u32, byte: u8) -> u32 {
    (value >> 8) ^ table[usize::from(value as u8 ^ byte)]
}

#[cfg(test)]
mod tests {
    use super::super::wide;
    use super::*;

    #[test]
    fn both_ways_agree() {
        let bytes: std::vec::Vec<u8> = (0..=255)
            .chain(*b"1-0:1.8.1(000057.460*kWh)\r\n!")
            .collect();
        for rule in [Rule::Arc, Rule::X25] {
            for length in 0..bytes.len() {
                let (mut one, mut other) = (Digest::new(rule), wide::Digest::new(rule));
                let bytes = &bytes[..length];
                assert_eq!(one.update_line(bytes), other.update_line(bytes));
                assert_eq!(one.value(), other.value(), "{rule:?}, a line of {length}");
                one.update(bytes);
                other.update(bytes);
                assert_eq!(one.value(), other.value(), "{rule:?}, {length} bytes");
            }
        }
    }
}

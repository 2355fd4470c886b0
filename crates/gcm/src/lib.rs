//! AES-128-GCM (NIST SP 800-38D), opened block by block: whoever receives over a slow line in little memory does not want to
//! wait for the tag. What comes out is proved by the tag alone, at the end.
//!
//! The arithmetic is that of the crates `aes` and `ghash`. A crate of its own, since they are generic: here, and not in whatever
//! uses it, their code is made, by settings under which the compiler for the chip can.
#![no_std]
#![forbid(unsafe_code)]

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use ghash::{GHash, universal_hash::UniversalHash};

/// Bytes of a key.
pub const KEY: usize = 16;

/// Bytes of a block.
pub const BLOCK: usize = 16;

/// Bytes of an initialization vector.
pub const IV: usize = 12;

/// The number of the text's first block; 1 is the tag's.
const FIRST: u32 = 2;

/// What opens messages, one at a time. RAM: 0.4 kB.
#[derive(Default)]
pub struct Opener(Option<Message>);

/// One message, from its first block to its tag.
struct Message {
    cipher: Aes128,
    hash: GHash,
    /// That of a message without additional data.
    bare: Option<GHash>,
    iv: [u8; IV],
    /// Bytes of the additional data, and of the text so far.
    additional: u64,
    text: u64,
}

impl Opener {
    /// Without a message.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Begins a message that is opened with `key`, and `additional` to be authenticated with it; `or_none`: its sender
    /// may as well have authenticated the message alone.
    #[inline(never)]
    pub fn begin(&mut self, key: &[u8; KEY], iv: [u8; IV], additional: &[u8], or_none: bool) {
        let cipher = Aes128::new(key.into());
        let mut hash = GHash::new(&encrypted(&cipher, [0; BLOCK]).into());
        let bare = or_none.then(|| hash.clone());
        hash.update_padded(additional);
        self.0 = Some(Message {
            cipher,
            hash,
            bare,
            iv,
            additional: additional.len() as u64,
            text: 0,
        });
    }

    /// Opens the next block in its place; the last one may be shorter.
    #[inline(never)]
    pub fn open(&mut self, block: &mut [u8]) {
        let Some(message) = &mut self.0 else { return };
        message.hash.update_padded(block);
        if let Some(bare) = &mut message.bare {
            bare.update_padded(block);
        }
        let number = FIRST.wrapping_add((message.text / BLOCK as u64) as u32);
        message.text += block.len() as u64;
        for (byte, key) in block.iter_mut().zip(message.stream(number)) {
            *byte ^= key;
        }
    }

    /// Bytes opened so far.
    pub fn opened(&self) -> u64 {
        self.0.as_ref().map_or(0, |message| message.text)
    }

    /// Ends the message, and says whether this is its tag, which may be cut.
    #[inline(never)]
    pub fn end(&mut self, tag: &[u8]) -> bool {
        let authentic = self.0.as_ref().is_some_and(|message| {
            let bare = message.bare.as_ref();
            message.is_tag(&message.hash, message.additional, tag)
                || bare.is_some_and(|bare| message.is_tag(bare, 0, tag))
        });
        self.0 = None;
        authentic
    }

    /// Gives the message up.
    pub fn cancel(&mut self) {
        self.0 = None;
    }
}

impl Message {
    #[inline(never)]
    fn is_tag(&self, hash: &GHash, additional: u64, tag: &[u8]) -> bool {
        let mut hash = hash.clone();
        let mut lengths = [0; BLOCK];
        let bits = [additional * 8, self.text * 8];
        for (place, bits) in lengths.as_chunks_mut().0.iter_mut().zip(bits) {
            *place = bits.to_be_bytes();
        }
        hash.update(&[lengths.into()]);
        let expected = hash.finalize();
        let mut expected = expected
            .iter()
            .zip(self.stream(1))
            .map(|(hash, key)| hash ^ key);
        let is_right = |byte: &u8| expected.next() == Some(*byte);
        !tag.is_empty() && tag.iter().all(is_right)
    }

    fn stream(&self, number: u32) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let number = number.to_be_bytes();
        for (place, byte) in block.iter_mut().zip(self.iv.iter().chain(&number)) {
            *place = *byte;
        }
        encrypted(&self.cipher, block)
    }
}

#[inline(never)]
fn encrypted(cipher: &Aes128, block: [u8; BLOCK]) -> [u8; BLOCK] {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use aes_gcm::{
        Aes128Gcm,
        aead::{Aead, KeyInit, Payload},
    };

    use super::*;

    #[test]
    fn what_another_implementation_seals_is_opened() {
        for length in 0..100 {
            let text: Vec<u8> = (0..length).collect();
            let additional: Vec<u8> = (0..length % 37).map(|n| n ^ 0x5A).collect();
            let (key, iv) = ([length; KEY], [length ^ 0xFF; IV]);
            let payload = Payload {
                msg: &text,
                aad: &additional,
            };
            let cipher = Aes128Gcm::new(&key.into());
            let mut sealed = cipher.encrypt(&iv.into(), payload).unwrap();
            let tag = sealed.split_off(text.len());
            let or_none = length % 2 == 0;
            let mut opener = Opener::new();
            let mut is_tag = |tag: &[u8]| {
                opener.begin(&key, iv, &additional, or_none);
                let mut opened = sealed.clone();
                opened
                    .chunks_mut(BLOCK)
                    .for_each(|block| opener.open(block));
                assert_eq!(opened, text);
                assert_eq!(opener.opened(), text.len() as u64);
                opener.end(tag)
            };
            assert!(is_tag(&tag));
            assert!(is_tag(&tag[..12]));
            for bit in 0..128 {
                let mut wrong = tag.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(!is_tag(&wrong));
            }
            assert!(!is_tag(&[]));
        }
    }

    #[test]
    fn additional_data_may_be_left_out_where_that_is_said() {
        let (key, iv) = ([7; KEY], [8; IV]);
        let cipher = Aes128Gcm::new(&key.into());
        let mut sealed = cipher.encrypt(&iv.into(), &b"text"[..]).unwrap();
        let tag = sealed.split_off(4);
        for or_none in [true, false] {
            let mut opener = Opener::new();
            opener.begin(&key, iv, b"additional", or_none);
            opener.open(&mut sealed.clone());
            assert_eq!(opener.end(&tag), or_none);
            assert!(!opener.end(&tag), "there is no message any more");
        }
    }
}

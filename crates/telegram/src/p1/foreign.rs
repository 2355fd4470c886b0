//! Ports of other kinds. What they send cannot be read here, but it can be told from noise.

/// What a port speaks that is no P1 port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// DLMS in HDLC frames, `7E A0 … 7E` (IEC 62056-46 §6.4): HAN ports, and older Aidon meters on a P1 plug.
    Hdlc,
    /// Frames of M-Bus, `68 L L 68 …` (EN 13757-2 §5.2).
    MBus,
}

impl Protocol {
    /// The name that people know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hdlc => "HDLC",
            Self::MBus => "M-Bus",
        }
    }
}

/// Looks out for frames of other protocols.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lookout {
    /// The bytes that came last.
    last: u32,
    /// How many bytes it is to the flag that ends an HDLC frame.
    left: u16,
    found: Option<Protocol>,
}

impl Lookout {
    /// Takes further bytes in.
    pub fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.last = self.last << 8 | u32::from(byte);
            let [first, second, third, fourth] = self.last.to_be_bytes();
            if first == 0x68 && fourth == 0x68 && second == third && second > 2 {
                self.found = Some(Protocol::MBus);
            }
            match self.left {
                0 if second == 0x7E && third & 0xF0 == 0xA0 => {
                    // Two bytes of what the length counts have come, and the flag is not among it.
                    let length = u16::from_be_bytes([third & 0x07, fourth]);
                    self.left = length.saturating_sub(1);
                }
                0 => {}
                1 if byte == 0x7E => {
                    self.left = 0;
                    self.found = Some(Protocol::Hdlc);
                }
                left => self.left = left - 1,
            }
        }
    }

    /// What was found.
    pub fn found(&self) -> Option<Protocol> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// A frame of an Aidon meter's list 1 (in form; the values are invented).
    const HDLC: &[u8] = b"\x7E\xA0\x0C\x41\x08\x83\x13\x00\x01\x02\x03\x04\x05\x7E";
    const MBUS: &[u8] = b"\x68\x05\x05\x68\x53\xFF\x00\x01\x67\xBA\x16";

    fn found(bytes: &[u8]) -> Option<Protocol> {
        let mut lookout = Lookout::default();
        lookout.take(bytes);
        lookout.found()
    }

    #[test]
    fn frames_are_told_by_their_ends() {
        for (frame, protocol) in [(HDLC, Protocol::Hdlc), (MBUS, Protocol::MBus)] {
            assert_eq!(found(frame), Some(protocol));
            let among = [b"\x7E\xA0\x02\x7E".as_slice(), frame, frame].concat();
            assert_eq!(found(&among), Some(protocol));
            let mut lookout = Lookout::default();
            for byte in frame {
                lookout.take(&[*byte]);
            }
            assert_eq!(lookout.found(), Some(protocol));
            assert_eq!(found(&frame[..3]), None);
        }
    }

    #[test]
    fn noise_is_not_mistaken_for_frames() {
        let mut random = 1_u32;
        let noise: Vec<u8> = core::iter::repeat_with(|| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            (random >> 11) as u8
        })
        .take(20_000)
        .collect();
        assert_eq!(found(&noise), None);
        assert_eq!(found(&[0; 1000]), None);
        assert_eq!(found(&[0x7E; 1000]), None);
        assert_eq!(found(&[0x68; 2]), None);
        assert_eq!(
            found(include_bytes!("../../../../fixtures/meters/esmr50.p1")),
            None
        );
    }
}

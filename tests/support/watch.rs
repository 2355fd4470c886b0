//! A debugger of the emulator, of which it is asked who accesses a part of memory.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

/// The program counter's place among the registers that QEMU tells.
const PC: usize = 16;

/// A connection to QEMU's `-gdb`, while the core stands still.
pub struct Watch {
    stream: TcpStream,
    received: Vec<u8>,
    ranges: Vec<Range<u32>>,
}

impl Watch {
    /// Stops the core, and has it stop at each access to these addresses.
    pub fn start(port: u16, ranges: &[Range<u32>]) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the emulator's debugger");
        stream.set_nodelay(true).expect("no delay");
        let mut watch = Self {
            stream,
            received: Vec::new(),
            ranges: ranges.to_vec(),
        };
        // Whoever connects is told twice that the core has stopped.
        watch.tell("?");
        watch.answer();
        let _ = watch.answer_within(Duration::from_millis(500));
        for range in ranges {
            watch.set("Z4", range);
        }
        watch
    }

    /// Lets the core run for so long; where each access was.
    pub fn accesses(&mut self, time: Duration) -> Vec<u32> {
        let mut places = Vec::new();
        let end = Instant::now() + time;
        self.tell("c");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(stop) = self.answer_within(left) else {
                self.stream.write_all(b"\x03").expect("a break");
                // An access may have come first.
                self.answer();
                return places;
            };
            let (_, address) = stop.split_once("watch:").expect("an access");
            let address = u32::from_str_radix(address.trim_end_matches(';'), 16);
            let address = address.expect("its address");
            places.push(self.pc());
            let mut ranges = self.ranges.clone().into_iter();
            let range = ranges.find(|range| range.contains(&address));
            // The core stands before the access, and would stop there again.
            let range = range.expect("one that is watched");
            self.set("z4", &range);
            assert!(self.ask("s").starts_with('T'));
            self.set("Z4", &range);
            if Instant::now() > end {
                return places;
            }
            self.tell("c");
        }
    }

    fn pc(&mut self) -> u32 {
        let registers = self.ask("g");
        let digits = &registers[8 * PC..8 * (PC + 1)];
        u32::from_str_radix(digits, 16).expect("hex").swap_bytes()
    }

    fn set(&mut self, what: &str, range: &Range<u32>) {
        let length = range.end - range.start;
        let mut answer = self.ask(&format!("{what},{:x},{length:x}", range.start));
        // The second stop of the start, on a busy machine.
        while answer.starts_with('T') {
            answer = self.answer();
        }
        assert_eq!(answer, "OK", "{what}");
    }

    fn ask(&mut self, packet: &str) -> String {
        self.tell(packet);
        self.answer()
    }

    fn tell(&mut self, packet: &str) {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        let told = write!(self.stream, "+${packet}#{sum:02x}");
        told.expect("the emulator takes it");
    }

    fn answer(&mut self) -> String {
        let answer = self.answer_within(Duration::from_secs(20));
        answer.expect("an answer of the emulator's debugger")
    }

    fn answer_within(&mut self, time: Duration) -> Option<String> {
        let end = Instant::now() + time;
        loop {
            let begin = self.received.iter().position(|byte| *byte == b'$');
            let hash = self.received.iter().position(|byte| *byte == b'#');
            if let (Some(begin), Some(hash)) = (begin, hash)
                && self.received.len() >= hash + 3
            {
                let packet = self.received.drain(..hash + 3).collect::<Vec<u8>>();
                return Some(String::from_utf8_lossy(&packet[begin + 1..hash]).into_owned());
            }
            let left = end.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).expect("a time");
            let mut bytes = [0; 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => panic!("the emulator has ended"),
                Ok(count) => self.received.extend(&bytes[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if Instant::now() >= end {
                        return None;
                    }
                }
                Err(error) => panic!("the emulator's debugger: {error}"),
            }
        }
    }
}

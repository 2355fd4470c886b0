//! Samples: telegrams to make them of, and what is made of them.

use std::io::BufRead;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use super::firmware::text;
use super::telegram::telegram;

/// What the `number`th telegram says of the three phases, as a sample has it.
pub fn sample(number: u8) -> [f32; 6] {
    let volts = |phase: u8| (2_300.0 + f32::from(10 * phase + number)) / 10.0;
    let amperes = |phase: u8| 1_000.0 * f32::from(phase + number);
    let [a, b, c] = [1, 2, 3].map(|phase| [volts(phase), amperes(phase)]);
    [a[0], a[1], b[0], b[1], c[0], c[1]]
}

/// The `number`th telegram.
pub fn spoken(number: u8) -> Vec<u8> {
    let lines: Vec<String> = (1..=3)
        .flat_map(|phase: u8| {
            let volts = 2_300 + u32::from(10 * phase + number);
            [
                format!(
                    "1-0:{}2.7.0({}.{}*V)",
                    2 * phase + 1,
                    volts / 10,
                    volts % 10
                ),
                format!("1-0:{}1.7.0({:03}*A)", 2 * phase + 1, phase + number),
            ]
        })
        .collect();
    telegram("ABC5meter", &lines)
}

/// Gives datagrams room to wait in, for as long as a busy machine lets nobody read them.
pub fn roomy(socket: &UdpSocket) {
    const ROOM: usize = 16 << 20;
    // More than the machine allows everybody is for root.
    if set_socket_recv_buffer_size_force(socket, ROOM).is_err() {
        set_socket_recv_buffer_size(socket, ROOM).expect("as much as there may be");
    }
}

/// The samples among the bytes.
pub fn samples(bytes: &[u8]) -> Vec<[f32; 6]> {
    let (values, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    let values: Vec<_> = values.iter().map(|v| f32::from_le_bytes(*v)).collect();
    let (samples, rest) = values.as_chunks();
    assert!(rest.is_empty());
    samples.to_vec()
}

/// Each of equal ones in a row once.
pub fn changes(samples: &[[f32; 6]]) -> Vec<[f32; 6]> {
    let mut changes = samples.to_vec();
    changes.dedup();
    changes
}

/// What a recording of ffmpeg's holds.
pub fn recorded(ffmpeg: &Path, file: &Path) -> Vec<[f32; 6]> {
    let mut command = Command::new(ffmpeg);
    command.args(["-nostdin", "-loglevel", "error", "-i", text(file)]);
    let output = command.args(["-f", "f32le", "-"]).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
    samples(&output.stdout)
}

/// The next packet, past lines: its number and samples.
pub fn packet(client: &mut impl BufRead) -> (u32, Vec<[f32; 6]>) {
    loop {
        let mut prefix = [0; 5];
        client.read_exact(&mut prefix).unwrap();
        if &prefix != b"Data:" {
            client.read_until(b'\n', &mut Vec::new()).unwrap();
            continue;
        }
        let (mut length, mut number) = ([0; 2], [0; 4]);
        client.read_exact(&mut length).unwrap();
        client.read_exact(&mut number).unwrap();
        let mut bytes = vec![0; u16::from_le_bytes(length).into()];
        client.read_exact(&mut bytes).unwrap();
        return (u32::from_le_bytes(number), samples(&bytes));
    }
}

//! Lines of a client of the command protocol, to a device with a telegram: any bytes are welcome, every answer is one
//! line of JSON, and what is set is valid.
#![no_main]

use embassy_sync::mutex::Mutex;
use libfuzzer_sys::fuzz_target;
use metertrekker::{
    app::{monitor::Monitor, stats::Stats},
    reading::Reading,
    settings::{KEYS, Settings},
    smartmeter::{
        answer::Whole,
        device::{Client, Device, Peer},
        line::{Line, Lines, MAX},
        log::Level,
        request::Request,
    },
    soc::host::{executor::block_on, ram_flash::RamFlash},
    storage::Store,
};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let whole = lines(data, data.len().max(1));
    assert_eq!(whole, lines(data, 1));
    for line in whole.iter().flatten() {
        compare(line);
    }
    block_on(serve(&whole));
});

/// The lines that come out when the bytes go in by `size` at a time; `None` for one that is too long.
fn lines(data: &[u8], size: usize) -> Vec<Option<Vec<u8>>> {
    let mut lines = Lines::new();
    let mut all = Vec::new();
    for mut piece in data.chunks(size) {
        while let Some(line) = lines.next(&mut piece) {
            all.push(match line {
                Line::Text(text) => Some(text.to_vec()),
                Line::TooLong => None,
            });
        }
    }
    all
}

/// Another reader of JSON finds the same command.
fn compare(line: &[u8]) {
    assert!(line.len() <= MAX);
    let ours = Request::parse(line);
    let mut values = serde_json::Deserializer::from_slice(line).into_iter::<Value>();
    let theirs = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => {
            // A number that no float holds and half of a character are the command's business.
            let text = error.to_string();
            let known = ["out of range", "surrogate", "hex escape"];
            let known = known.iter().any(|known| text.contains(known));
            assert!(ours.is_err() || known, "{text}");
            return;
        }
        None => return assert!(ours.is_err()),
    };
    match (ours, theirs.get("cmd").and_then(Value::as_str)) {
        (Ok(ours), Some(theirs)) => assert!(theirs.starts_with(ours.command.as_str())),
        (Ok(ours), None) => panic!("{}", ours.command),
        (Err(_), None) => {}
        // Nesting has an end.
        (Err(error), Some(_)) => {
            let nested = line.iter().filter(|byte| matches!(byte, b'[' | b'{'));
            assert!(nested.count() > 16, "{error:?}");
        }
    }
}

async fn serve(lines: &[Option<Vec<u8>>]) {
    let flash = Box::new(RamFlash::<4096, 2>::new());
    let Ok(mut store) = Store::open(*flash, 0..8192).await else {
        panic!("blank flash");
    };
    let store = Mutex::new(&mut store);
    let stats = Stats::new();
    let device = Device::open("fuzz", || Some(1_614_680_860_182), &store, &stats).await;
    let mut reading = Box::new(Reading::new());
    reading.begin(b"TST5\\TEST");
    for line in [
        "1-0:1.8.1(000005.000*kWh)",
        "1-0:21.7.0(00.500*kW)",
        "1-0:32.7.0(230.1*V)",
        "1-0:31.7.0(002*A)",
    ] {
        assert_eq!(reading.line(line.as_bytes()), Ok(()));
    }
    reading.settle();
    device.believed(&reading);
    let mut client = Client::new(Peer::Console, Level::Info);
    let mut answer = <Whole>::new();
    for line in lines {
        answer.clear();
        match line {
            None => device.answer_too_long(MAX, &mut answer),
            // A wrong password takes its time.
            Some(line) if Request::parse(line).is_ok_and(|line| line.command == "unlock") => {
                continue;
            }
            Some(line) => device.answer_whole(line, &mut client, &mut answer).await,
        }
        check(answer.bytes());
        let settings = device.settings();
        let mut again = Settings::default();
        for key in KEYS {
            assert_eq!(again.set(key.name, &settings.get(key.name)), Ok(()));
        }
        assert_eq!(again, settings);
    }
    assert_eq!(stats.storage_errors.get(), 0);
}

fn check(answer: &[u8]) {
    if answer.is_empty() {
        return;
    }
    let text = std::str::from_utf8(answer).expect("UTF-8");
    let line = text.strip_suffix("\r\n").expect("an end");
    assert!(!line.contains(['\r', '\n']), "{line}");
    let json = line.strip_prefix("Info:").expect("its prefix");
    if json != "Setup done" {
        let json: Value = serde_json::from_str(json).expect(json);
        assert!(json.is_object());
    }
}

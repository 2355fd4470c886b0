//! A P1 line whose far end is a test, and the meter task on it.

use core::fmt;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use embassy_futures::join::join3;
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, mutex::Mutex, signal::Signal};
use embassy_time::{Duration, Instant, Timer};
use metertrekker::{
    app::{detection::Detection, mailbox::Mailbox, meter::Meter, monitor::Monitor, stats::Stats},
    p1::port::{LineErrors, LineSettings, Port},
    reading::Reading,
    settings::Settings,
    soc::host::executor::{block_on, block_on_virtual},
    storage::Store,
};

use super::{
    link::{Flash, blank},
    recorder::Recorder,
    telegrams::{Telegram, thousandths},
};

/// What the meter task did to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Asserted,
    Released,
    Set(LineSettings),
}

enum Item {
    Bytes(VecDeque<u8>),
    Fail,
    End,
}

/// The line between a scripted meter and the task.
#[derive(Default)]
pub struct Line {
    log: RefCell<Vec<(u64, Done)>>,
    asserted: Cell<bool>,
    /// Somebody else has the receiver.
    taken: Cell<bool>,
    incoming: RefCell<VecDeque<Item>>,
    arrival: Signal<NoopRawMutex, ()>,
    change: Signal<NoopRawMutex, ()>,
}

impl Line {
    fn put(&self, item: Item) {
        self.incoming.borrow_mut().push_back(item);
        self.arrival.signal(());
    }

    pub fn send(&self, bytes: &[u8]) {
        self.put(Item::Bytes(bytes.iter().copied().collect()));
    }

    /// The next read fails.
    pub fn fail(&self) {
        self.put(Item::Fail);
    }

    /// What a read gives; `None` when it has to wait.
    fn next(&self, buffer: &mut [u8]) -> Option<Result<usize, Unplugged>> {
        let mut incoming = self.incoming.borrow_mut();
        loop {
            match incoming.front_mut()? {
                Item::Bytes(bytes) if bytes.is_empty() => {}
                Item::Bytes(bytes) => {
                    let count = bytes.len().min(buffer.len());
                    for (place, byte) in buffer.iter_mut().zip(bytes.drain(..count)) {
                        *place = byte;
                    }
                    return Some(Ok(count));
                }
                Item::Fail => {
                    incoming.pop_front();
                    return Some(Err(Unplugged));
                }
                Item::End => return Some(Ok(0)),
            }
            incoming.pop_front();
        }
    }

    /// Gives the receiver to somebody else, or back.
    pub fn take_receiver(&self, is_taken: bool) {
        self.taken.set(is_taken);
    }

    pub fn is_asserted(&self) -> bool {
        self.asserted.get()
    }

    /// Waits until Data Request is asserted.
    pub async fn asserted(&self) {
        while !self.asserted.get() {
            self.change.wait().await;
        }
    }
}

#[derive(Debug)]
pub struct Unplugged;

impl fmt::Display for Unplugged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unplugged")
    }
}

impl core::error::Error for Unplugged {}

struct TestPort<'l> {
    line: &'l Line,
    waits: bool,
}

impl Port for TestPort<'_> {
    type Error = Unplugged;

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Unplugged> {
        // As a source behind a thread, it is not ready as soon as a timer that is due.
        for _ in 0..4 {
            embassy_futures::yield_now().await;
        }
        loop {
            if let Some(read) = self.line.next(buffer) {
                return read;
            }
            self.line.arrival.wait().await;
        }
    }

    fn set_line(&mut self, line: LineSettings) {
        let now = Instant::now().as_millis();
        self.line.log.borrow_mut().push((now, Done::Set(line)));
    }

    fn request(&mut self, asserted: bool) {
        if self.line.asserted.replace(asserted) != asserted {
            let done = if asserted {
                Done::Asserted
            } else {
                Done::Released
            };
            let now = Instant::now().as_millis();
            self.line.log.borrow_mut().push((now, done));
            self.line.change.signal(());
        }
    }

    fn waits(&self) -> bool {
        self.waits
    }

    fn is_listening(&self) -> bool {
        !self.line.taken.get()
    }

    fn line_errors(&self) -> LineErrors {
        LineErrors::default()
    }
}

/// How the meter task is set up.
pub struct Bench {
    pub settings: Settings,
    /// The port is one whose source waits.
    pub waits: bool,
    /// When the consumer begins to wait for readings, and how long it holds each.
    pub comes: Duration,
    pub holds: Duration,
    curious: Option<Instant>,
}

/// What came of it.
pub struct Outcome {
    /// What was done to the line, by the millisecond.
    pub log: Vec<(u64, Done)>,
    /// `delivered_low` in Wh of the readings that the consumer got, by the millisecond.
    pub readings: Vec<(u64, i64)>,
    /// The same of the readings that the monitor took up.
    pub believed: Vec<(u64, i64)>,
    pub stats: Stats,
    pub told: Recorder,
}

impl Outcome {
    /// The readings without their times.
    pub fn values(&self) -> Vec<i64> {
        self.readings.iter().map(|(_, value)| *value).collect()
    }

    /// Asserted and released, by the millisecond.
    pub fn requests(&self) -> Vec<(u64, Done)> {
        let log = self.log.iter().copied();
        log.filter(|(_, done)| !matches!(done, Done::Set(_)))
            .collect()
    }
}

struct Curious {
    from: Option<Instant>,
    believed: RefCell<Vec<(u64, i64)>>,
}

impl Monitor for Curious {
    fn wants_every(&self) -> bool {
        self.from.is_some_and(|from| Instant::now() >= from)
    }

    fn believed(&self, reading: &Reading) {
        let now = Instant::now().as_millis();
        self.believed.borrow_mut().push((now, register(reading)));
    }
}

fn register(reading: &Reading) -> i64 {
    let registers = ["delivered_low", "delivered_total"];
    let value = registers.iter().find_map(|name| thousandths(reading, name));
    value.unwrap()
}

impl Bench {
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            waits: false,
            comes: Duration::from_ticks(0),
            holds: Duration::from_ticks(0),
            curious: None,
        }
    }

    /// Somebody wants every telegram from so many seconds on.
    pub fn curious_from(mut self, seconds: u64) -> Self {
        self.curious = Some(Instant::from_secs(seconds));
        self
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.set(name, value).unwrap();
        self
    }

    /// Runs the task in virtual time until `script` has come to its end and the line with it.
    pub fn run(self, script: impl AsyncFnOnce(&Line)) -> Outcome {
        self.run_with(&mut block_on(blank()), script)
    }

    /// The same with what survives restarts.
    pub fn run_with(self, store: &mut Store<Flash>, script: impl AsyncFnOnce(&Line)) -> Outcome {
        let store = Mutex::new(store);
        let (line, stats, told) = (Line::default(), Stats::new(), Recorder::default());
        let (mut one, mut other) = (Box::new(Reading::new()), Box::new(Reading::new()));
        let curious = Curious {
            from: self.curious,
            believed: RefCell::default(),
        };
        let readings = block_on_virtual(async {
            let mailbox = Mailbox::new(&mut one);
            let mut port = TestPort {
                line: &line,
                waits: self.waits,
            };
            let both = (&told, &curious);
            let detection = Detection::new();
            let mut meter = Meter::new(
                &mut other,
                &self.settings,
                &mailbox,
                &stats,
                &both,
                &detection,
            );
            let script = async {
                script(&line).await;
                line.put(Item::End);
            };
            let consumer = async {
                let mut readings = Vec::new();
                detection.recall(&store, &stats).await;
                Timer::after(self.comes).await;
                while let Some(taken) = mailbox.take().await {
                    readings.push((Instant::now().as_millis(), register(&taken)));
                    Timer::after(self.holds).await;
                    taken.done();
                    detection.keep(&store, &stats).await;
                }
                readings
            };
            join3(meter.run(&mut port), script, consumer).await.2
        });
        Outcome {
            log: line.log.into_inner(),
            readings,
            believed: curious.believed.into_inner(),
            stats,
            told,
        }
    }
}

/// A meter that sends a telegram each `period` seconds while asked to, `count` in all; `wh` rises
/// by one each time, from 1.
pub async fn obedient(line: &Line, period: u64, count: u32) {
    for n in 1..=count {
        line.asserted().await;
        Timer::after(Duration::from_secs(period)).await;
        line.send(&Telegram::new(n).bytes());
        // The task has seen the telegram before the meter asks whether to go on.
        Timer::after(Duration::from_millis(10)).await;
    }
}

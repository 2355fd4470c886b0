//! The command protocol over MQTT: what the publisher hands over, and what it publishes for it.
//!
//! `powermeter/<name>/cmd`, `…/sample` and `…/state`, and the same without name for all devices at once, are
//! answered on `powermeter/<name>/state/info`; `…/state/sample` says every five seconds what is going on.

use core::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, pending},
};

use embassy_futures::select::{Either, select};
use embassy_sync::{
    blocking_mutex::raw::CriticalSectionRawMutex, channel::Channel, signal::Signal,
};
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::NorFlash;

use crate::{
    publish::{Output, Overflow},
    smartmeter::{
        answer::{Answer, LONGEST, Reply, Whole},
        device::{Client, Device, Peer},
        log::Level,
    },
};

/// The first level of all topics here, which is not the root of the settings: the protocol's tools look
/// there.
pub const BASE: &str = "powermeter";

/// How often it is said what is going on.
const STATUS: Duration = Duration::from_secs(5);

/// Bytes of the longest command: what the session's packets have room for beside a topic.
const COMMAND: usize = 448;

/// What the publisher knows of the commands.
pub trait Remote {
    /// The device's name in topics; `None` when there are no commands.
    fn name(&self) -> Option<&str>;

    /// A message has come. It must not be kept waiting.
    fn received(&self, topic: &str, payload: &[u8]);

    /// Waits until there is something to publish.
    ///
    /// # Cancellation Safety
    /// Nothing is lost.
    fn ready(&self) -> impl Future<Output = ()>;

    /// The topic below `powermeter/<name>/` of what is to be published.
    fn topic(&self) -> &'static str;

    /// Writes what is to be published, and returns its length.
    ///
    /// # Errors
    /// It is longer than `buffer`.
    fn write(&self, buffer: &mut [u8]) -> Result<usize, Overflow>;

    /// It has been published, or never will be.
    fn done(&self);
}

/// No commands.
impl Remote for () {
    fn name(&self) -> Option<&str> {
        None
    }

    fn received(&self, _: &str, _: &[u8]) {}

    fn ready(&self) -> impl Future<Output = ()> {
        pending()
    }

    fn topic(&self) -> &'static str {
        ""
    }

    fn write(&self, _: &mut [u8]) -> Result<usize, Overflow> {
        Ok(0)
    }

    fn done(&self) {}
}

/// What a message asks for, by the last level of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Sample,
    State,
}

/// What a board says that has less room than an answer takes.
const TOO_LONG: &str =
    "The answer does not fit into a message of this board: ask over TCP or the console";

struct Request {
    kind: Kind,
    payload: heapless::Vec<u8, COMMAND>,
}

/// Commands over MQTT, with `WAITING` requests that may wait and answers of up to `ANSWER` bytes. RAM: both, and
/// what a request takes.
pub struct Mqtt<'n, const WAITING: usize = 2, const ANSWER: usize = LONGEST> {
    name: &'n str,
    requests: Channel<CriticalSectionRawMutex, Request, WAITING>,
    answer: RefCell<Whole<ANSWER>>,
    topic: Cell<&'static str>,
    full: Cell<bool>,
    arrival: Signal<CriticalSectionRawMutex, ()>,
    departure: Signal<CriticalSectionRawMutex, ()>,
}

impl<'n> Mqtt<'n> {
    /// For the device of this name, with room for every answer.
    pub const fn new(name: &'n str) -> Self {
        Self::with_room(name)
    }
}

impl<'n, const WAITING: usize, const ANSWER: usize> Mqtt<'n, WAITING, ANSWER> {
    /// For the device of this name, with as much room as the board has.
    pub const fn with_room(name: &'n str) -> Self {
        Self {
            name,
            requests: Channel::new(),
            answer: RefCell::new(Whole::new()),
            topic: Cell::new(""),
            full: Cell::new(false),
            arrival: Signal::new(),
            departure: Signal::new(),
        }
    }

    /// Answers what comes, and says what is going on, for ever.
    pub async fn run<F: NorFlash>(&self, device: &Device<'_, '_, F>) -> Infallible {
        let mut status = Instant::now() + STATUS;
        loop {
            let next = select(self.requests.receive(), Timer::at(status)).await;
            // An answer is written where the last one is.
            while self.full.get() {
                self.departure.wait().await;
            }
            self.answer.borrow_mut().clear();
            let topic = match &next {
                Either::First(request) => {
                    self.answer(device, request).await;
                    "state/info"
                }
                Either::Second(()) => {
                    // After a broker's absence there is no need to catch up.
                    status = (status + STATUS).max(Instant::now());
                    // Without a broker nobody wants to know.
                    if !device.is_connected() {
                        continue;
                    }
                    self.write(|answer| device.status(answer));
                    "state/sample"
                }
            };
            if !self.answer.borrow().json().is_empty() {
                self.topic.set(topic);
                self.full.set(true);
                self.arrival.signal(());
            }
        }
    }

    async fn answer<F: NorFlash>(&self, device: &Device<'_, '_, F>, request: &Request) {
        match request.kind {
            Kind::Command => {
                let mut client = Client::new(Peer::Mqtt, Level::Error);
                let line = request.payload.trim_ascii();
                let reply = &mut Kept(&self.answer);
                device.answer_whole(line, &mut client, reply).await;
            }
            Kind::Sample => self.write(|answer| device.sample(&request.payload, answer)),
            Kind::State => self.write(|answer| device.sampling(answer)),
        }
        if self.answer.borrow().has_overflown() {
            self.answer.borrow_mut().clear();
            self.write(|answer| {
                answer.object(|answer| {
                    answer.flag("error", true);
                    answer.string("msg", TOO_LONG);
                });
            });
        }
    }

    fn write(&self, write: impl FnOnce(&mut Answer)) {
        let reply: &mut dyn Reply = &mut Kept(&self.answer);
        reply.pass(write);
    }
}

/// Where the publisher fetches an answer. It is not borrowed across an await.
struct Kept<'a, const ANSWER: usize>(&'a RefCell<Whole<ANSWER>>);

impl<const ANSWER: usize> Reply for Kept<'_, ANSWER> {
    fn compose(&mut self, write: &mut dyn FnMut(&mut Answer)) {
        self.0.borrow_mut().compose(write);
    }
}

impl<const WAITING: usize, const ANSWER: usize> Remote for Mqtt<'_, WAITING, ANSWER> {
    fn name(&self) -> Option<&str> {
        Some(self.name)
    }

    fn received(&self, topic: &str, payload: &[u8]) {
        let kind = match topic.rsplit('/').next() {
            Some("cmd") => Kind::Command,
            Some("sample") => Kind::Sample,
            Some("state") => Kind::State,
            _ => return,
        };
        // One that is too long is as an empty one, which nobody answers.
        let payload = heapless::Vec::from_slice(payload).unwrap_or_default();
        // Who sends more than can be answered gets fewer answers.
        let _ = self.requests.try_send(Request { kind, payload });
    }

    async fn ready(&self) {
        while !self.full.get() {
            self.arrival.wait().await;
        }
    }

    fn topic(&self) -> &'static str {
        self.topic.get()
    }

    fn write(&self, buffer: &mut [u8]) -> Result<usize, Overflow> {
        let mut output = Output::new(buffer);
        output.bytes(self.answer.borrow().json())?;
        Ok(output.len())
    }

    fn done(&self) {
        self.full.set(false);
        self.departure.signal(());
    }
}

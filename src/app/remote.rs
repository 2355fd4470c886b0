//! The command protocol over MQTT: what the publisher hands over, and what it publishes for it.
//!
//! `powermeter/<name>/cmd`, `…/sample` and `…/state`, and the same without name for all devices at once, are
//! answered on `powermeter/<name>/state/info`; `…/state/sample` says every five seconds what is going on, and
//! while samples are made that they are; `…/state/switch` when the meter's breaker or a relay is switched.

use core::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, pending},
};

use embassy_futures::select::{Either4, select4};
use embassy_sync::{
    blocking_mutex::raw::CriticalSectionRawMutex, channel::Channel, signal::Signal,
};
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::NorFlash;

use crate::{
    publish::{Output, Overflow},
    smartmeter::{
        answer::{Answer, LONGEST, Reply, Whole},
        device::{Client, Device, News, Peer},
        log::Level,
        stream::{MAX_SAMPLE, PacketView},
    },
};

/// The first level of all topics here, which is not the root of the settings: the protocol's tools look
/// there.
pub const BASE: &str = "powermeter";

/// How often it is said what is going on.
const STATUS: Duration = Duration::from_secs(5);

/// Where answers and samples go, and where it is said what is going on.
const INFO: &str = "state/info";
const STATE: &str = "state/sample";

/// Bytes of the longest command: what the session's packets have room for beside a topic.
const COMMAND: usize = 448;

/// What the publisher knows of the commands.
pub trait Remote {
    /// Whether there are commands at all.
    fn is_there(&self) -> bool;

    /// A message has come. It must not be kept waiting. `false` when nobody has room for it.
    fn received(&self, topic: &str, payload: &[u8]) -> bool;

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
    fn is_there(&self) -> bool {
        false
    }

    fn received(&self, _: &str, _: &[u8]) -> bool {
        true
    }

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
    /// A command of which there is too much.
    TooLong,
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
pub struct Mqtt<const WAITING: usize = 2, const ANSWER: usize = LONGEST> {
    requests: Channel<CriticalSectionRawMutex, Request, WAITING>,
    answer: RefCell<Whole<ANSWER>>,
    topic: Cell<&'static str>,
    full: Cell<bool>,
    arrival: Signal<CriticalSectionRawMutex, ()>,
    departure: Signal<CriticalSectionRawMutex, ()>,
}

impl Mqtt {
    /// Nothing has come yet, with room for every answer.
    pub const fn new() -> Self {
        Self::with_room()
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WAITING: usize, const ANSWER: usize> Mqtt<WAITING, ANSWER> {
    /// Nothing has come yet, with as much room as the board has.
    pub const fn with_room() -> Self {
        Self {
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
        let mut sample = heapless::Vec::<u8, MAX_SAMPLE>::new();
        let mut samples = false;
        loop {
            let news = device.news(samples, &mut sample);
            // Samples come last, so that no rate keeps a command waiting. A request is long: it does not pass through all of this.
            let next = select4(
                self.requests.ready_to_receive(),
                Timer::at(status),
                device.switched(),
                news,
            );
            let next = next.await;
            // Before anything is waited for, so that the next one finds room.
            let request = match next {
                Either4::First(()) => self.next_request(),
                _ => None,
            };
            let has_status = self.full.get() && self.topic.get() == STATE;
            // An answer is written where the last one is.
            self.until_free().await;
            let topic = match next {
                Either4::First(()) => {
                    if let Some(request) = &request {
                        device.up_to_date().await;
                        self.answer(device, request, &mut sample).await;
                    }
                    INFO
                }
                Either4::Second(()) => {
                    // After a broker's absence there is no need to catch up.
                    let now = Instant::now();
                    status += STATUS;
                    if status <= now {
                        status = now + STATUS;
                    }
                    // Without a broker nobody wants to know, samples say more, and one that has waited is enough.
                    if samples || !device.is_connected() || has_status {
                        continue;
                    }
                    self.write(|answer| device.status(answer));
                    STATE
                }
                Either4::Third(()) => {
                    self.write(|answer| device.switches(answer));
                    "state/switch"
                }
                Either4::Fourth(News::Turned(on)) => {
                    samples = on;
                    if !device.is_connected() {
                        continue;
                    }
                    let word = if on { "on" } else { "off" };
                    self.write(|answer| answer.line(|answer| answer.part(word)));
                    STATE
                }
                Either4::Fourth(News::Sample(measures, at)) => {
                    self.write(|answer| device.sample_news(measures, at, &sample, answer));
                    INFO
                }
            };
            if !self.answer.borrow().json().is_empty() {
                self.hand_over(topic);
            }
        }
    }

    // Inlined, it would have room on the stack of whatever is waited for.
    #[inline(never)]
    fn next_request(&self) -> Option<Request> {
        self.requests.try_receive().ok()
    }

    async fn answer<F: NorFlash>(
        &self,
        device: &Device<'_, '_, F>,
        request: &Request,
        sample: &mut PacketView,
    ) {
        match request.kind {
            Kind::Command => {
                let mut client = Client::new(Peer::Mqtt, Level::Error);
                let line = request.payload.trim_ascii();
                let reply = &mut Kept(&self.answer);
                device.answer(line, &mut client, reply).await;
                // What a stop leaves to be sent comes before its answer.
                if self.answer.borrow().json().is_empty() {
                    self.publish_last(device, sample).await;
                }
                while device.more(&mut client, reply) {}
            }
            Kind::TooLong => device.answer_too_long(COMMAND, &mut Kept(&self.answer)),
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

    async fn publish_last<F: NorFlash>(&self, device: &Device<'_, '_, F>, sample: &mut PacketView) {
        while let Some(News::Sample(measures, at)) = device.last_news(sample) {
            self.write(|answer| device.sample_news(measures, at, sample, answer));
            self.hand_over(INFO);
            self.until_free().await;
        }
    }

    fn write(&self, write: impl FnOnce(&mut Answer)) {
        let reply: &mut dyn Reply = &mut Kept(&self.answer);
        reply.pass(write);
    }

    /// Waits until the publisher has taken the last answer, and forgets that.
    async fn until_free(&self) {
        while self.full.get() {
            self.departure.wait().await;
        }
        self.answer.borrow_mut().clear();
    }

    fn hand_over(&self, topic: &'static str) {
        self.topic.set(topic);
        self.full.set(true);
        self.arrival.signal(());
    }
}

/// Where the publisher fetches an answer. It is not borrowed across an await.
struct Kept<'a, const ANSWER: usize>(&'a RefCell<Whole<ANSWER>>);

impl<const ANSWER: usize> Reply for Kept<'_, ANSWER> {
    fn compose(&mut self, write: &mut dyn FnMut(&mut Answer)) {
        self.0.borrow_mut().compose(write);
    }
}

impl<const WAITING: usize, const ANSWER: usize> Remote for Mqtt<WAITING, ANSWER> {
    fn is_there(&self) -> bool {
        true
    }

    fn received(&self, topic: &str, payload: &[u8]) -> bool {
        let mut kind = match topic.rsplit('/').next() {
            Some("cmd") => Kind::Command,
            Some("sample") => Kind::Sample,
            Some("state") => Kind::State,
            _ => return true,
        };
        if kind == Kind::Command && payload.len() > COMMAND {
            kind = Kind::TooLong;
        }
        // Of what is no command the first letter counts.
        let payload = heapless::Vec::from_slice(payload).unwrap_or_default();
        self.requests.try_send(Request { kind, payload }).is_ok()
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

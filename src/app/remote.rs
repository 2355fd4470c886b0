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
        answer::Answer,
        device::{Client, Device, News, Peer},
        log::Level,
        stream::MAX_SAMPLE,
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
    fn is_there(&self) -> bool {
        false
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

struct Request {
    kind: Kind,
    payload: heapless::Vec<u8, COMMAND>,
}

/// Commands over MQTT. RAM: 2.8 kB, and 1.7 kB more in what [`run`](Self::run) returns.
pub struct Mqtt {
    requests: Channel<CriticalSectionRawMutex, Request, 2>,
    answer: RefCell<Answer>,
    topic: Cell<&'static str>,
    full: Cell<bool>,
    arrival: Signal<CriticalSectionRawMutex, ()>,
    departure: Signal<CriticalSectionRawMutex, ()>,
}

impl Mqtt {
    /// Nothing has come yet.
    pub const fn new() -> Self {
        Self {
            requests: Channel::new(),
            answer: RefCell::new(Answer::new()),
            topic: Cell::new(""),
            full: Cell::new(false),
            arrival: Signal::new(),
            departure: Signal::new(),
        }
    }

    /// Answers what comes, and says what is going on, for ever.
    pub async fn run<F: NorFlash>(&self, device: &Device<'_, '_, F>) -> Infallible {
        let mut status = Instant::now() + STATUS;
        let mut answer = Answer::new();
        let mut sample = heapless::Vec::<u8, MAX_SAMPLE>::new();
        let mut samples = false;
        loop {
            answer.clear();
            let news = device.news(samples, &mut sample);
            // Samples come last, so that no rate keeps a command waiting.
            let told = select4(
                self.requests.receive(),
                Timer::at(status),
                device.switched(),
                news,
            );
            let topic = match told.await {
                Either4::First(request) => {
                    match request.kind {
                        Kind::Command => {
                            let mut client = Client::new(Peer::Mqtt, Level::Error);
                            let line = request.payload.trim_ascii();
                            device.answer(line, &mut client, &mut answer).await;
                            // What a stop leaves to be sent comes before its answer.
                            while let Some(news) = device.last_news(&mut sample) {
                                self.publish_sample(device, news, &sample).await;
                            }
                        }
                        Kind::Sample => device.sample(&request.payload, &mut answer),
                        Kind::State => device.sampling(&mut answer),
                    }
                    INFO
                }
                Either4::Second(()) => {
                    // After a broker's absence there is no need to catch up.
                    status = (status + STATUS).max(Instant::now());
                    // Without a broker nobody wants to know, and samples say more.
                    if samples || !device.is_connected() {
                        continue;
                    }
                    device.status(&mut answer);
                    STATE
                }
                Either4::Fourth(News::Turned(on)) => {
                    samples = on;
                    if !device.is_connected() {
                        continue;
                    }
                    let word = if on { "on" } else { "off" };
                    answer.line(|answer| answer.part(word));
                    STATE
                }
                Either4::Fourth(news) => {
                    self.publish_sample(device, news, &sample).await;
                    continue;
                }
                Either4::Third(()) => {
                    device.switches(&mut answer);
                    "state/switch"
                }
            };
            if !answer.json().is_empty() {
                self.publish(topic, &mut answer).await;
            }
        }
    }

    /// Hands an answer to the publisher when it has taken the last one.
    async fn publish(&self, topic: &'static str, answer: &mut Answer) {
        self.until_free().await;
        core::mem::swap(&mut *self.answer.borrow_mut(), answer);
        self.hand_over(topic);
    }

    /// The same with a sample.
    async fn publish_sample<F: NorFlash>(
        &self,
        device: &Device<'_, '_, F>,
        news: News,
        sample: &[u8],
    ) {
        let News::Sample(measures, at) = news else {
            return;
        };
        self.until_free().await;
        {
            let answer = &mut *self.answer.borrow_mut();
            answer.clear();
            device.sample_news(measures, at, sample, answer);
        }
        self.hand_over(INFO);
    }

    async fn until_free(&self) {
        while self.full.get() {
            self.departure.wait().await;
        }
    }

    fn hand_over(&self, topic: &'static str) {
        self.topic.set(topic);
        self.full.set(true);
        self.arrival.signal(());
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self::new()
    }
}

impl Remote for Mqtt {
    fn is_there(&self) -> bool {
        true
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

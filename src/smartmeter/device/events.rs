//! What the tasks tell the device, and what it tells its clients of that.

use core::{
    error::Error,
    net::{IpAddr, SocketAddr},
};

use embassy_time::{Duration, Instant};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use super::{Device, Peer};
use crate::{
    app::{
        meter::PRECEDENCE,
        monitor::{Failure, Monitor},
        totals,
    },
    p1::{foreign::Protocol, port::LineSettings},
    reading::Reading,
    receiver::{Proof, Refusal},
    smartmeter::{log::Level, values::Values},
};

impl<F: NorFlash> Monitor for Device<'_, '_, F> {
    fn accepted(&self, _: &Reading, _: Proof) {
        self.port_complained.set(false);
        self.up_to_date.set(Instant::now() + PRECEDENCE);
    }

    fn believed(&self, reading: &Reading) {
        let now = Instant::now();
        let values = Values::of(reading, now);
        if let Some(clock) = reading.clock() {
            self.told_by_meter(clock.utc, now);
        }
        let utc = self.now_or_epoch().utc();
        self.sample_until_now();
        {
            let state = &mut *self.state.borrow_mut();
            let meter = totals::meter(reading);
            state.energy.update(meter, &values, now, utc);
            state.values = values;
            if state.switches.update(reading) {
                self.has_switched.set(true);
                self.switched.signal(());
            }
        }
        self.sample_from_now();
        self.up_to_date.set(Instant::MIN);
    }

    // For the status over MQTT, and for clients, who ask at any moment.
    fn wants_every(&self) -> bool {
        self.connected.get() || self.clients.get() > 0 || self.sampling.borrow().is_some()
    }

    fn refused(&self, refusal: Refusal) {
        self.tell(Level::Warning, |text| {
            let _ = match refusal {
                Refusal::Encrypted { .. } => {
                    uwrite!(text, "The P1 port is encrypted: set decryption_key")
                }
                Refusal::Key { .. } => {
                    uwrite!(text, "decryption_key does not fit this meter's frames")
                }
                _ => uwrite!(text, "A telegram was refused: {}", refusal.name()),
            };
        });
    }

    fn totals_fell(&self) {
        self.up_to_date.set(Instant::MIN);
        self.tell(Level::Warning, |text| {
            let _ = uwrite!(text, "A telegram was dropped: a register went backwards");
        });
    }

    fn no_telegram(&self, waited: Duration, _: u32, line: LineSettings, _: LineSettings) {
        self.tell(Level::Warning, |text| {
            let (seconds, baud) = (waited.as_secs(), line.baud);
            let _ = uwrite!(text, "No telegram for {} s at {} baud", seconds, baud);
        });
    }

    fn foreign_port(&self, protocol: Protocol) {
        self.tell(Level::Warning, |text| {
            let _ = uwrite!(
                text,
                "This is no P1 port: it sends {} frames, which are not read here",
                protocol.name()
            );
        });
    }

    fn port_failed<E: Error>(&self, _: &E) {
        // It is tried every second; once is enough to say it.
        if self.port_complained.replace(true) {
            return;
        }
        self.tell(Level::Error, |text| {
            let _ = uwrite!(text, "The P1 port cannot be read");
        });
    }

    fn connected(&self, server: &str, _: Duration) {
        self.connected.set(true);
        self.switched.signal(());
        self.complained.set(false);
        self.tell(Level::Info, |text| {
            let _ = uwrite!(text, "MQTT connected to {}", server);
        });
    }

    fn disconnected<E: embedded_io_async::Error>(
        &self,
        server: &str,
        _: Failure<'_, E>,
        _: Duration,
    ) {
        let was_connected = self.connected.replace(false);
        if was_connected {
            self.broker_lost();
            self.tell(Level::Info, |text| {
                let _ = uwrite!(text, "MQTT disconnected from {}", server);
            });
        } else if !self.complained.replace(true) {
            self.tell(Level::Error, |text| {
                let _ = uwrite!(text, "Cannot connect to MQTT Server {}", server);
            });
        }
    }
}

impl<F: NorFlash> Device<'_, '_, F> {
    /// Tells the others of a new client.
    pub fn joined(&self, peer: SocketAddr) {
        self.clients.set(self.clients.get().saturating_add(1));
        self.tell(Level::Info, |text| {
            let (ip, port) = (Ip(peer.ip()), peer.port());
            let _ = uwrite!(text, "Client with IP {} connected on port {}", ip, port);
        });
    }

    /// Tells the others that a client has gone.
    pub fn left(&self, peer: SocketAddr) {
        self.clients.set(self.clients.get().saturating_sub(1));
        self.tell(Level::Info, |text| {
            let (ip, port) = (Ip(peer.ip()), peer.port());
            let _ = uwrite!(text, "Client disconnected {} port {}", ip, port);
        });
    }

    /// Tells that a stream server is called.
    pub fn calling(&self, server: &str) {
        self.tell(Level::Info, |text| {
            let _ = uwrite!(text, "Try to connect Stream Server: {}", server);
        });
    }

    /// Tells that a stream server has answered.
    pub fn called(&self, server: &str) {
        self.tell(Level::Info, |text| {
            let _ = uwrite!(text, "Connected to StreamServer: {}", server);
        });
    }

    /// Tells that a stream server does not answer.
    pub fn unanswered(&self, server: &str) {
        self.tell(Level::Warning, |text| {
            let _ = uwrite!(text, "Cannot connect to StreamServer: {}", server);
        });
    }

    /// Tells the others that there was no room for a client.
    pub fn turned_away(&self) {
        self.tell(Level::Info, |text| {
            let _ = uwrite!(text, "To much clients, could not add client");
        });
    }
}

/// An address without `core::fmt`; an IPv6 address with all its groups.
pub struct Ip(pub IpAddr);

impl uDisplay for Ip {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        match self.0 {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                uwrite!(f, "{}.{}.{}.{}", a, b, c, d)
            }
            IpAddr::V6(address) => {
                for (index, group) in address.segments().into_iter().enumerate() {
                    let separator = if index == 0 { "" } else { ":" };
                    uwrite!(f, "{}{:x}", separator, group)?;
                }
                Ok(())
            }
        }
    }
}

impl uDisplay for Peer {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        match self {
            Self::Network(peer) => Ip(peer.ip()).fmt(f),
            Self::Console => f.write_str("the console"),
            Self::Mqtt => f.write_str("MQTT"),
        }
    }
}

//! A simulated smart meter: telegrams as the national standards print them, of a household that
//! does not exist.
//!
//! Everything here is a pure function of a [`Kind`], a seed, a start time and a list of
//! [`Faults`]: no clock, no I/O, no threads. [`Simulator::telegram_at`] moves the household to a
//! moment and prints what its meter would send then, byte for byte. Serial numbers, registers and
//! events are all drawn from the seed.
//!
//! Data flow: [`household`] (power, gas, water, heat, second by second) → the meter's registers and
//! captures → a kind's list of objects (`meters`) → [`faults`] that bend objects, framing or bytes.
//!
//! Clock letters mean what DSMR says (`S` is UTC+2, `W` is UTC+1) for every kind, also for the
//! countries whose own time zone is another one.

pub mod calendar;
mod demand;
pub mod faults;
pub mod household;
mod kind;
mod meter;
mod meters;
mod random;
mod telegram;

pub use faults::Faults;
pub use kind::{Check, Format, Kind, Line, UnknownKind};
pub use meter::Simulator;

//! The SmartMeter command protocol: JSON lines in, `Info:` and JSON out.
//!
//! [`line`](mod@line) cuts what a client sends into lines, [`request`] reads the JSON in one,
//! [`command`] makes a typed command of it, and [`device`] does it and writes the [`answer`]. What it
//! answers from are the [`values`] and the [`energy`] of the last verified telegram. [`log`] is what every
//! client is told unasked; what of it [`flood`] lets through, [`journal`] keeps in flash. [`sampling`] is
//! what a request for samples asks for, [`stream`] makes them. Nothing here knows a socket; [`crate::app::session`] does.

pub mod answer;
pub mod clock;
pub mod command;
pub mod device;
pub mod energy;
pub mod fixed;
pub mod flood;
pub mod journal;
pub mod line;
pub mod log;
pub mod request;
pub mod sampling;
pub mod stream;
pub mod switches;
pub mod time;
pub mod values;
pub mod zone;

//! Bytes of the P1 line to verified lines and typed values.
//!
//! [`cipher`] opens the frames of encrypted ports; [`framing`] cuts the byte stream into lines and runs the [`crc`] along; [`line`](mod@line)
//! reads one line into an [`obis`] id and its bracketed groups; [`value`] and [`timestamp`] read a
//! group. [`foreign`] names ports that are none of these. Nothing here knows what an OBIS id means.

pub mod cipher;
pub mod crc;
pub mod foreign;
pub mod framing;
pub mod line;
pub mod obis;
pub mod port;
pub mod timestamp;
pub mod value;

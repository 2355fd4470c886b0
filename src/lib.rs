//! P1 reader firmware: telegrams of a smart meter in, MQTT and InfluxDB lines out.
//!
//! The data's way: [`p1`] cuts the bytes of a port into lines, runs the CRC over them and knows the forms
//! of values; [`receiver`] puts each line into a staged [`reading`], which the CRC at the telegram's end
//! proves; [`metric`] is the table that says what an OBIS id means. The meter task of [`app`] hands proved
//! readings to the publisher task, which renders them with [`publish`] and keeps one MQTT session, and what
//! has to survive a restart in [`storage`]. [`smartmeter`] answers commands about the same readings, and
//! [`settings`] is what a user can change by them. All of that is the same on every board; [`soc`] holds what is not: ports, network, time, flash.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

pub mod app;
pub mod mdns;
pub mod ntp;
pub mod publish;
pub mod settings;
pub mod smartmeter;
pub mod soc;
pub mod storage;
pub mod wifi;

pub use telegram::{metric, p1, reading, receiver};

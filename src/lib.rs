//! P1 reader firmware: telegrams of a smart meter in, MQTT and InfluxDB lines out.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

pub mod app;
pub mod metric;
pub mod p1;
pub mod publish;
pub mod reading;
pub mod receiver;
pub mod settings;
pub mod soc;
pub mod storage;

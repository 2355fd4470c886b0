//! The SmartMeter command protocol: every command against goldens, what survives a restart, and
//! clients that come, go and misbehave.

mod air;
mod dhcp;
mod document;
mod golden;
#[path = "../support/golden.rs"]
mod goldens;
mod house;
mod logbook;
mod names;
mod ntp;
mod persistence;
mod samples;
mod sessions;
mod streams;
mod street;
mod telegrams;
mod time_server;
#[path = "../support/udp.rs"]
mod udp;
mod wifi;
mod wire;

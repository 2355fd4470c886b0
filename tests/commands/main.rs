//! The SmartMeter command protocol: every command against goldens, what survives a restart, and
//! clients that come, go and misbehave.

mod document;
mod golden;
mod house;
mod logbook;
mod ntp;
mod persistence;
mod samples;
mod sessions;
mod streams;
mod telegrams;
mod time_server;
mod wire;

//! The SmartMeter command protocol: every command against goldens, what survives a restart, and
//! clients that come, go and misbehave.

mod document;
mod golden;
mod house;
mod logbook;
mod persistence;
mod sessions;
mod telegrams;
mod wire;

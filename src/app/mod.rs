//! The firmware's tasks, generic over a board's seams: the same on a PC, in the emulator and on the
//! chip.
//!
//! [`meter`] reads the P1 port and proves telegrams; each reading to be published goes through the
//! [`mailbox`] to the [`publisher`], which keeps the MQTT session. Reading never waits for the
//! network: when the publisher is behind, the newest reading wins and [`stats`] counts the loss. What was found out of the port
//! goes the same way to the store, by [`detection`].
//!
//! Beside them the [`server`] runs a [`session`] for each client of the command protocol, as the
//! [`caller`] does for a server and [`remote`] for the broker; they ask and
//! change the [`Device`](crate::smartmeter::device::Device) that the meter task tells of readings, and [`ntp`]
//! of the time. Its samples go by session, through the broker, or by the [`outlet`]. On a board with a radio [`wifi`] keeps the
//! device in a network, where [`mdns`] says what it is called; [`dhcp`] serves who is in the device's own.

mod address;
pub mod backoff;
pub mod caller;
pub mod detection;
pub mod dhcp;
pub mod mailbox;
pub mod mdns;
pub mod meter;
pub mod monitor;
pub mod ntp;
pub mod outlet;
pub mod publisher;
mod random;
pub mod remote;
pub mod report;
pub mod server;
pub mod session;
pub mod stats;
pub mod totals;
pub mod transport;
pub mod wifi;

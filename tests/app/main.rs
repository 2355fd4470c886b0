//! The firmware's tasks: meter and publisher, on lines and links that fail when told to.

mod broker;
mod detection;
mod link;
mod memory;
mod meter;
mod port;
mod publisher;
mod recorder;
mod remote;
mod segments;
mod simulated;
mod telegrams;

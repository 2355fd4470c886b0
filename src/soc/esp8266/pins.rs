//! Pins that are outputs, by esp8266-hal.
//!
//! The chip drives no P1 line by itself: it is not made for the 4 V and more that Data Request takes. A stage between the two does, which
//! asks when it is told to and otherwise leaves the line alone, so released is what a pin has to be from the first moment on.

use esp8266_hal::gpio::{self, PushPull};
use esp8266_hal::prelude::*;
use esp8266_hal::target::Peripherals;

use super::output::Output;

pub use super::output::Nowhere;

/// An output that can be made.
pub trait Start: Output {
    /// Makes the pin an output that is off; it is never on in between.
    ///
    /// # Safety
    /// Once for each pin, before anybody else uses it.
    unsafe fn start(on_is_high: bool) -> Self;
}

impl Start for Nowhere {
    unsafe fn start(_on_is_high: bool) -> Self {
        Self
    }
}

macro_rules! pins {
    ($($name:ident $field:ident,)*) => {$(
        /// A pin that is an output.
        pub struct $name {
            pin: gpio::$name<gpio::Output<PushPull>>,
            on_is_high: bool,
        }

        impl Output for $name {
            fn set(&mut self, is_on: bool) {
                let Ok(()) = if is_on == self.on_is_high {
                    self.pin.set_high()
                } else {
                    self.pin.set_low()
                };
            }
        }

        impl Start for $name {
            unsafe fn start(on_is_high: bool) -> Self {
                // SAFETY: nobody else has this pin.
                let pin = unsafe { Peripherals::steal() }.GPIO.split().$field;
                // SAFETY: only the level is set so, which a pin has when it becomes an output.
                let pin = unsafe { pin.unsafe_info() };
                let mut off = Self { pin, on_is_high };
                off.set(false);
                Self {
                    pin: off.pin.into_push_pull_output(),
                    on_is_high,
                }
            }
        }
    )*};
}

pins! {
    Gpio0 gpio0,
    Gpio2 gpio2,
    Gpio4 gpio4,
    Gpio5 gpio5,
    Gpio12 gpio12,
    Gpio13 gpio13,
    Gpio14 gpio14,
    Gpio15 gpio15,
}

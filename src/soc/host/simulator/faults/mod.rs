//! Oddities on request: what real meters and real lines do that the standards do not say.
//!
//! A list is written `name,name:rate,name@number`: `crc:0.1` spoils about one check in ten,
//! `crc@2` that of the second telegram only, `crc` every one. Which telegrams a rate picks, and
//! where on them a fault strikes, is drawn from the meter's seed and the telegram's second.

mod framing;
mod mbus;
mod objects;
mod sealed;
mod wire;

use std::fmt;
use std::format;
use std::prelude::v1::*;
use std::str::FromStr;

use super::kind::Kind;
use super::meter::Meter;
use super::random::{bits, unit};
use super::telegram::Telegram;

/// An oddity that can be asked for by name.
#[derive(Debug)]
pub struct Fault {
    /// Its name on a command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    edit: Edit,
}

/// Bends objects or framing, before the check is made; whether there was anything to bend.
type TelegramEdit = fn(&mut Telegram, &Meter) -> bool;

/// Bends the bytes on the line; whether there was anything to bend.
type WireEdit = fn(&mut Vec<u8>, &mut Dice, &Meter) -> bool;

/// Puts a telegram's bytes into a frame; whether it could.
type SealEdit = fn(&mut Vec<u8>, &Meter) -> bool;

#[derive(Debug)]
enum Edit {
    Telegram(TelegramEdit),
    Seal(SealEdit),
    Wire(WireEdit),
}

impl Fault {
    const fn telegram(name: &'static str, about: &'static str, edit: TelegramEdit) -> Self {
        Fault {
            name,
            about,
            edit: Edit::Telegram(edit),
        }
    }

    const fn wire(name: &'static str, about: &'static str, edit: WireEdit) -> Self {
        Fault {
            name,
            about,
            edit: Edit::Wire(edit),
        }
    }

    const fn seal(name: &'static str, about: &'static str, edit: SealEdit) -> Self {
        Fault {
            name,
            about,
            edit: Edit::Seal(edit),
        }
    }

    /// Every fault: objects, framing, then what happens on the line. What seals comes before that.
    pub fn all() -> impl Iterator<Item = &'static Fault> {
        [
            objects::FAULTS,
            mbus::FAULTS,
            framing::FAULTS,
            wire::FAULTS,
            sealed::FAULTS,
        ]
        .into_iter()
        .flatten()
    }
}

/// Draws for one fault at one moment.
struct Dice {
    seed: u64,
    drawn: i64,
}

impl Dice {
    /// A number in `0..below`; 0 when that is empty.
    fn below(&mut self, below: usize) -> usize {
        self.drawn += 1;
        (bits(self.seed, 90, self.drawn) % below.max(1) as u64) as usize
    }
}

/// Which telegrams a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Rate(f64),
    /// The nth telegram asked for, from 1.
    Number(u32),
}

/// The faults a simulated meter has.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<(&'static Fault, When)>);

/// A telegram's place: its meter at its second, and its number from 1.
pub(super) struct Moment<'a> {
    pub meter: &'a Meter,
    pub number: u32,
}

impl Faults {
    /// Whether the meter has any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses faults that would leave this meter's telegrams as they are.
    pub(super) fn check(&self, meter: &Meter) -> Result<(), FaultError> {
        for (fault, _) in &self.0 {
            let mut telegram = super::meters::telegram(meter);
            let bends = match fault.edit {
                Edit::Telegram(edit) => edit(&mut telegram, meter),
                Edit::Seal(edit) => edit(&mut telegram.encode(), meter),
                Edit::Wire(edit) => {
                    let mut dice = Dice {
                        seed: meter.seed,
                        drawn: 0,
                    };
                    edit(&mut telegram.encode(), &mut dice, meter)
                }
            };
            if !bends {
                return Err(FaultError::NotInKind {
                    fault: fault.name,
                    kind: meter.kind,
                });
            }
        }
        Ok(())
    }

    /// What goes over the line in place of a telegram.
    pub(super) fn send(&self, mut telegram: Telegram, moment: &Moment<'_>) -> Vec<u8> {
        let meter = moment.meter;
        let mut wire: Vec<(WireEdit, Dice)> = Vec::new();
        let mut seal = None;
        for (n, fault) in Fault::all().enumerate() {
            let stream = 100 + n as u64;
            let strikes = self.0.iter().any(|(asked, when)| {
                std::ptr::eq(*asked, fault)
                    && match when {
                        When::Rate(rate) => unit(meter.seed, stream, meter.now) < *rate,
                        When::Number(number) => moment.number == *number,
                    }
            });
            if !strikes {
                continue;
            }
            match fault.edit {
                Edit::Telegram(edit) => {
                    edit(&mut telegram, meter);
                }
                Edit::Seal(edit) => seal = Some(edit),
                Edit::Wire(edit) => {
                    let seed = bits(meter.seed, stream + 500, meter.now);
                    wire.push((edit, Dice { seed, drawn: 0 }));
                }
            }
        }
        let mut bytes = telegram.encode();
        if let Some(edit) = seal {
            edit(&mut bytes, meter);
        }
        for (edit, mut dice) in wire {
            edit(&mut bytes, &mut dice, meter);
        }
        bytes
    }
}

impl FromStr for Faults {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        if text.is_empty() {
            return Ok(Faults::default());
        }
        let parsed = text.split(',').map(|item| {
            let wrong = || FaultError::When(item.into());
            let (name, when) = if let Some((name, rate)) = item.split_once(':') {
                let rate = rate.parse::<f64>().map_err(|_| wrong())?;
                if !(rate > 0.0 && rate <= 1.0) {
                    return Err(wrong());
                }
                (name, When::Rate(rate))
            } else if let Some((name, number)) = item.split_once('@') {
                let number = number.parse::<u32>().map_err(|_| wrong())?;
                if number == 0 {
                    return Err(wrong());
                }
                (name, When::Number(number))
            } else {
                (item, When::Rate(1.0))
            };
            let fault = Fault::all().find(|fault| fault.name == name);
            let fault = fault.ok_or_else(|| FaultError::Unknown(name.into()))?;
            Ok((fault, when))
        });
        Ok(Faults(parsed.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (fault, when)) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match when {
                When::Rate(1.0) => write!(f, "{comma}{}", fault.name)?,
                When::Rate(rate) => write!(f, "{comma}{}:{rate}", fault.name)?,
                When::Number(number) => write!(f, "{comma}{}@{number}", fault.name)?,
            }
        }
        Ok(())
    }
}

/// Why a list of faults is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// No fault has this name.
    Unknown(String),
    /// What stands behind `:` or `@` is no rate or number.
    When(String),
    /// A telegram of this kind has nothing that the fault could bend.
    NotInKind {
        /// The fault's name.
        fault: &'static str,
        /// The meter's kind.
        kind: Kind,
    },
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultError::Unknown(name) => {
                let names: Vec<&str> = Fault::all().map(|fault| fault.name).collect();
                write!(
                    f,
                    "`{name}` is not a fault; faults are {}",
                    names.join(", ")
                )
            }
            FaultError::When(item) => write!(
                f,
                "`{item}` does not say when: write a rate above 0 and up to 1 as crc:0.1, or the \
                 number of a telegram as crc@2"
            ),
            FaultError::NotInKind { fault, kind } => write!(
                f,
                "a telegram of kind {kind} has nothing that the fault `{fault}` could bend; choose \
                 another kind or leave the fault out"
            ),
        }
    }
}

impl std::error::Error for FaultError {}

/// Every fault with what it does, one per line, for a help text.
pub fn table() -> String {
    Fault::all()
        .map(|fault| format!("  {:<20} {}\n", fault.name, fault.about))
        .collect()
}

#[cfg(test)]
mod tests;

//! The national standards a simulated meter can follow.

use std::fmt;
use std::prelude::v1::*;
use std::str::FromStr;

use super::calendar::Zone;

/// How a byte travels on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Seven data bits, even parity, one stop bit.
    SevenEven,
    /// Eight data bits, no parity, one stop bit.
    EightNone,
}

/// Line settings of a P1 port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bits per second.
    pub baud: u32,
    /// What a byte consists of. Either takes ten bits on the line.
    pub format: Format,
}

/// The check behind a telegram's `!`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A bare `!`, before DSMR 4.0.
    None,
    /// CRC-16/ARC from `/` through `!`.
    Arc,
    /// CRC-16/X-25 over the same bytes (Holley, Hungary).
    X25,
}

/// A national standard, or a meter with ways of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Netherlands, DSMR 2.2: 9600 7E1, no CRC, gas as the two-line object 24.3.0.
    Dsmr22,
    /// Netherlands, DSMR 3.0: as 2.2, with a threshold and a breaker.
    Dsmr30,
    /// Netherlands, DSMR 4.0: 115200 8N1, CRC, hourly gas.
    Dsmr40,
    /// Netherlands, DSMR 4.2: three phases, hourly gas.
    Dsmr42,
    /// Netherlands, ESMR 5.0: three phases, every second, gas every five minutes.
    #[default]
    Esmr50,
    /// Netherlands, ESMR 5.0 with one phase.
    Esmr50OnePhase,
    /// Belgium, eMUCS-P1 1.7.1: quarter-hour peaks, gas as 24.2.3, water.
    Be,
    /// Luxembourg, Smarty in plain text: one register without tariffs, reactive power.
    Lu,
    /// Sweden, H1: no tariffs and no ids, winter time all year.
    Se,
    /// Finland, SK 13-1: the Swedish list with summer time, `kVArh`.
    Fi,
    /// Hungary, Sanxing: 2.4 kB, month-end snapshot in 98.1.0, 1024 raw 0xFF bytes.
    Hu,
    /// Hungary, Holley: CRC-16/X-25, `/` in the header, blanks behind units.
    HuHolley,
    /// Lithuania, ESO long list: four tariffs, kV and kA, signed averages.
    Lt,
    /// Switzerland, Groupe E: energy and power as 1-1 objects.
    Ch,
    /// Austria, EST in plain text: whole Wh, W, varh and var.
    At,
    /// Israel, Kaifa: tariffs 1.8.11 to 1.8.13, quarter-hour profile in 99.1.0.
    Il,
    /// Netherlands, MetCom MCS301: DLMS clock, mA, durations without unit.
    Mcs301,
    /// Netherlands, Warmtelink: district heat in GJ, clock as 1.1.0, CRC without padding.
    Warmtelink,
    /// Netherlands before DSMR, ACE4000: `*255`, gas as value then date.
    Ace4000,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Kind] = &[
        Kind::Dsmr22,
        Kind::Dsmr30,
        Kind::Dsmr40,
        Kind::Dsmr42,
        Kind::Esmr50,
        Kind::Esmr50OnePhase,
        Kind::Be,
        Kind::Lu,
        Kind::Se,
        Kind::Fi,
        Kind::Hu,
        Kind::HuHolley,
        Kind::Lt,
        Kind::Ch,
        Kind::At,
        Kind::Il,
        Kind::Mcs301,
        Kind::Warmtelink,
        Kind::Ace4000,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Dsmr22 => "dsmr22",
            Kind::Dsmr30 => "dsmr30",
            Kind::Dsmr40 => "dsmr40",
            Kind::Dsmr42 => "dsmr42",
            Kind::Esmr50 => "esmr50",
            Kind::Esmr50OnePhase => "esmr50-1ph",
            Kind::Be => "be",
            Kind::Lu => "lu",
            Kind::Se => "se",
            Kind::Fi => "fi",
            Kind::Hu => "hu",
            Kind::HuHolley => "hu-holley",
            Kind::Lt => "lt",
            Kind::Ch => "ch",
            Kind::At => "at",
            Kind::Il => "il",
            Kind::Mcs301 => "mcs301",
            Kind::Warmtelink => "warmtelink",
            Kind::Ace4000 => "ace4000",
        }
    }

    /// What it is, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Kind::Dsmr22 => {
                "Netherlands, DSMR 2.2: 9600 7E1, no CRC, gas as the two-line object 24.3.0"
            }
            Kind::Dsmr30 => "Netherlands, DSMR 3.0: as 2.2, with a threshold and a breaker",
            Kind::Dsmr40 => "Netherlands, DSMR 4.0: 115200 8N1, CRC, hourly gas",
            Kind::Dsmr42 => "Netherlands, DSMR 4.2: three phases, hourly gas",
            Kind::Esmr50 => {
                "Netherlands, ESMR 5.0: three phases, every second, gas every five minutes"
            }
            Kind::Esmr50OnePhase => "Netherlands, ESMR 5.0 with one phase",
            Kind::Be => "Belgium, eMUCS-P1 1.7.1: quarter-hour peaks, gas as 24.2.3, water",
            Kind::Lu => {
                "Luxembourg, Smarty in plain text: one register without tariffs, reactive power"
            }
            Kind::Se => "Sweden, H1: no tariffs and no ids, winter time all year",
            Kind::Fi => "Finland, SK 13-1: the Swedish list with summer time, `kVArh`",
            Kind::Hu => {
                "Hungary, Sanxing: 2.4 kB, month-end snapshot in 98.1.0, 1024 raw 0xFF bytes"
            }
            Kind::HuHolley => {
                "Hungary, Holley: CRC-16/X-25, `/` in the header, blanks behind units"
            }
            Kind::Lt => "Lithuania, ESO long list: four tariffs, kV and kA, signed averages",
            Kind::Ch => "Switzerland, Groupe E: energy and power as 1-1 objects",
            Kind::At => "Austria, EST in plain text: whole Wh, W, varh and var",
            Kind::Il => "Israel, Kaifa: tariffs 1.8.11 to 1.8.13, quarter-hour profile in 99.1.0",
            Kind::Mcs301 => "Netherlands, MetCom MCS301: DLMS clock, mA, durations without unit",
            Kind::Warmtelink => {
                "Netherlands, Warmtelink: district heat in GJ, clock as 1.1.0, CRC without padding"
            }
            Kind::Ace4000 => "Netherlands before DSMR, ACE4000: `*255`, gas as value then date",
        }
    }

    /// Seconds from one telegram to the next.
    pub fn period(self) -> i64 {
        match self {
            Kind::Esmr50 | Kind::Esmr50OnePhase | Kind::Be => 1,
            _ => 10,
        }
    }

    /// Line settings of its port.
    pub fn line(self) -> Line {
        match self {
            Kind::Dsmr22 | Kind::Dsmr30 | Kind::Ace4000 => Line {
                baud: 9_600,
                format: Format::SevenEven,
            },
            _ => Line {
                baud: 115_200,
                format: Format::EightNone,
            },
        }
    }

    /// The check that ends its telegrams.
    pub fn check(self) -> Check {
        match self {
            Kind::Dsmr22 | Kind::Dsmr30 | Kind::Ace4000 => Check::None,
            Kind::HuHolley => Check::X25,
            _ => Check::Arc,
        }
    }

    /// Seconds from one reading of the gas, water or heat meter to the next.
    pub fn capture_interval(self) -> i64 {
        match self {
            Kind::Dsmr22 | Kind::Dsmr30 | Kind::Dsmr40 | Kind::Dsmr42 | Kind::Ace4000 => 3_600,
            _ => 300,
        }
    }

    /// What its clock shows.
    pub fn zone(self) -> Zone {
        match self {
            Kind::Se => Zone::AlwaysWinter,
            _ => Zone::European,
        }
    }

    /// Whether the house has three phases.
    pub fn three_phase(self) -> bool {
        !matches!(
            self,
            Kind::Dsmr22 | Kind::Dsmr30 | Kind::Esmr50OnePhase | Kind::Il | Kind::Ace4000
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Kind::ALL.iter().find(|kind| kind.name() == text);
        found.copied().ok_or_else(|| UnknownKind(text.into()))
    }
}

/// A name that is no [`Kind`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        write!(
            f,
            "`{}` is not a kind of meter; kinds are {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownKind {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
            assert!(!kind.about().is_empty());
        }
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_valid_set() {
        let error = "dsmr5".parse::<Kind>().unwrap_err().to_string();
        assert!(error.starts_with("`dsmr5` is not a kind of meter; kinds are dsmr22, dsmr30"));
        assert!(Kind::ALL.iter().all(|kind| error.contains(kind.name())));
    }
}

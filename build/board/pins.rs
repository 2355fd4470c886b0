//! Which pins of the ESP8266 a board uses, and for what.

use serde::Deserialize;
use toml::Spanned;

/// The table `pins`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    p1: Spanned<P1>,
    /// Boards without it tie Data Request to +5 V.
    request: Option<Spanned<Request>>,
    led: Option<Spanned<Led>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct P1 {
    gpio: u8,
    /// The pin sees the line as the meter drives it, so the receiver has to invert it.
    inverted: bool,
    /// UART0 leaves GPIO1 and GPIO3 for GPIO15 and GPIO13.
    #[serde(default)]
    swap: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    gpio: u8,
    asserted: Level,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Led {
    gpio: u8,
    lit: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Low,
    High,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

/// An output as the code sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Its number.
    pub gpio: u8,
    /// The level that asks for telegrams, or lights the LED.
    pub on_is_high: bool,
}

/// Pins that are the program's to drive. GPIO16 is no pin of the GPIO block but of the RTC.
const OUTPUTS: [u8; 8] = [0, 2, 4, 5, 12, 13, 14, 15];

const RECEIVERS: &str = "valid are GPIO3, and GPIO13 with `swap = true`";

impl Pins {
    /// What contradicts itself or the chip, and where.
    pub fn problem(&self) -> Option<(usize, String)> {
        let P1 { gpio, swap, .. } = *self.p1.get_ref();
        let wrong = match (gpio, swap) {
            (3, false) | (13, true) => None,
            (_, true) => Some(format!(
                "p1 is GPIO{gpio}, and `swap` takes UART0 to GPIO13: {RECEIVERS}"
            )),
            (13, false) => Some(format!(
                "p1 is GPIO13, which UART0 has by `swap` only: {RECEIVERS}"
            )),
            _ => Some(format!(
                "p1 is GPIO{gpio}, where UART0 cannot receive: {RECEIVERS}"
            )),
        };
        if let Some(wrong) = wrong {
            return Some((self.p1.span().start, wrong));
        }
        let mut taken = vec![("p1", gpio)];
        for (name, at, output) in self.outputs() {
            if let Some(wrong) = self.unfit(name, output, &taken) {
                return Some((at, wrong));
            }
            taken.push((name, output.gpio));
        }
        None
    }

    fn outputs(&self) -> impl Iterator<Item = (&'static str, usize, Output)> + use<'_> {
        let request = self.request.iter().map(|request| {
            let output = Output {
                gpio: request.get_ref().gpio,
                on_is_high: request.get_ref().asserted == Level::High,
            };
            ("request", request.span().start, output)
        });
        let led = self.led.iter().map(|led| {
            let output = Output {
                gpio: led.get_ref().gpio,
                on_is_high: led.get_ref().lit == Level::High,
            };
            ("led", led.span().start, output)
        });
        request.chain(led)
    }

    fn unfit(&self, name: &str, output: Output, taken: &[(&str, u8)]) -> Option<String> {
        let gpio = output.gpio;
        let free = || {
            let is_free =
                |gpio: &&u8| !self.is_uart(**gpio) && taken.iter().all(|(_, taken)| taken != *gpio);
            let free = OUTPUTS.iter().filter(is_free).map(u8::to_string);
            format!("valid are {}", free.collect::<Vec<_>>().join(", "))
        };
        if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == gpio) {
            return Some(format!("{name} is GPIO{gpio}, as {other}: {}", free()));
        }
        if self.is_uart(gpio) {
            return Some(format!(
                "{name} is GPIO{gpio}, which is UART0's: {}",
                free()
            ));
        }
        if !OUTPUTS.contains(&gpio) {
            let why = match gpio {
                6..=11 => "the flash chip's",
                _ => "no output of the GPIO block",
            };
            return Some(format!("{name} is GPIO{gpio}, {why}: {}", free()));
        }
        let at_start = match gpio {
            0 | 2 => Level::High,
            15 => Level::Low,
            _ => return None,
        };
        let (on, key, means) = match (output.on_is_high, name) {
            (true, "request") => (Level::High, "asserted", "ask the meter"),
            (false, "request") => (Level::Low, "asserted", "ask the meter"),
            (true, _) => (Level::High, "lit", "light the LED"),
            (false, _) => (Level::Low, "lit", "light the LED"),
        };
        (on == at_start).then(|| {
            format!(
                "GPIO{gpio} has to be {} while the chip starts, and that would {means}: `{key}` has to be \"{}\"",
                at_start.name(),
                at_start.other().name()
            )
        })
    }

    /// The console is at GPIO1 and GPIO3 on every board.
    fn is_uart(&self, gpio: u8) -> bool {
        match gpio {
            1 | 3 => true,
            13 | 15 => self.is_swapped(),
            _ => false,
        }
    }

    /// Whether UART0's pins are swapped while telegrams are received.
    pub fn is_swapped(&self) -> bool {
        self.p1.get_ref().swap
    }

    /// Whether the receiver has to invert the line.
    pub fn is_inverted(&self) -> bool {
        self.p1.get_ref().inverted
    }

    /// Where telegrams are asked for, if the board can.
    pub fn request(&self) -> Option<Output> {
        self.output("request")
    }

    /// The LED, if there is one.
    pub fn led(&self) -> Option<Output> {
        self.output("led")
    }

    fn output(&self, wanted: &str) -> Option<Output> {
        let mut outputs = self.outputs();
        outputs.find_map(|(name, _, output)| (name == wanted).then_some(output))
    }

    /// The pins as constants and types of the code.
    pub fn code(&self) -> String {
        let mut code =
            String::from("// Generated from the board's [pins] by build.rs. Do not edit.\n");
        code += "/// How UART0 is wired.\n";
        code += &format!(
            "pub const WIRING: Wiring = Wiring {{ inverted: {}, swapped: {} }};\n",
            self.is_inverted(),
            self.is_swapped()
        );
        for (doc, name, output) in [
            ("Data Request", "Request", self.request()),
            ("The LED", "Led", self.led()),
        ] {
            let upper = name.to_uppercase();
            let (kind, high) = match output {
                Some(Output { gpio, on_is_high }) => (format!("Gpio{gpio}"), on_is_high),
                None => ("Nowhere".into(), false),
            };
            code += &format!("/// {doc}'s pin.\npub type {name} = {kind};\n");
            code += &format!(
                "/// Whether that pin is high when it is on.\npub const {upper}_ON_IS_HIGH: bool = {high};\n"
            );
        }
        code
    }
}

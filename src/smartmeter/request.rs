//! A request's JSON: one object with a command's name, and arguments beside it or in its `payload`.
//!
//! The line is parsed once to see that it is whole, and again for each argument that the command asks
//! for: it is short, and nothing of it has to be kept. What follows the object on the line is ignored.

use json::{Event, Parser};

use super::{fixed, line};
use crate::settings::{Text, cut};

/// Bytes of the longest key; a longer one is cut, and is none of ours.
const KEY: usize = 32;

/// Room for what is unescaped, which is shorter than what it was.
type Scratch = [u8; line::MAX];

/// Why a line is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It is no JSON object, or not a whole one.
    Syntax,
    /// It has no `cmd` that is a string.
    NoCommand,
}

/// Where an argument stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside `cmd`.
    Flat,
    /// In the object `payload`.
    Payload,
}

/// An argument's value, or an element of it when it is an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'v> {
    /// A string, unescaped.
    Text(&'v str),
    /// A number as written.
    Number(&'v str),
    /// A boolean.
    Bool(bool),
    /// An array; its elements follow.
    Array,
    /// An object.
    Object,
    /// Nothing.
    Null,
}

/// What an argument is called, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument<'v> {
    /// Where it stands.
    pub place: Place,
    /// Its key.
    pub key: &'v str,
    /// Which element of an array this is; `None` for the argument itself.
    pub index: Option<usize>,
    /// What it says.
    pub value: Value<'v>,
}

/// A text argument is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// A whole request. Of keys that come twice the last counts.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    line: &'a [u8],
    /// The command's name, cut when it is longer than any.
    pub command: Text<KEY>,
}

impl<'a> Request<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        let mut command = None;
        scan(line, &mut |argument| {
            if argument.place == Place::Flat && argument.key == "cmd" && argument.index.is_none() {
                command = match argument.value {
                    Value::Text(text) => Some(cut(text)),
                    _ => None,
                };
            }
        })?;
        let command = command.ok_or(Malformed::NoCommand)?;
        Ok(Self { line, command })
    }

    /// Shows each argument to `see`, `cmd` among them.
    pub fn each(&self, see: &mut dyn FnMut(Argument<'_>)) {
        // It was found to be whole.
        let _ = scan(self.line, see);
    }

    fn find(&self, place: Place, key: &str, see: &mut dyn FnMut(Option<usize>, Value<'_>)) {
        self.each(&mut |argument| {
            if argument.place == place && argument.key == key {
                see(argument.index, argument.value);
            }
        });
    }

    /// A text; `None` when it is missing or something else.
    ///
    /// # Errors
    /// It is longer than `N` bytes.
    pub fn text<const N: usize>(
        &self,
        place: Place,
        key: &str,
    ) -> Result<Option<Text<N>>, TooLong> {
        let mut found = Ok(None);
        self.find(place, key, &mut |index, value| {
            if index.is_none() {
                found = match value {
                    Value::Text(text) => Text::try_from(text).map(Some).map_err(|_| TooLong),
                    _ => Ok(None),
                };
            }
        });
        found
    }

    /// A number times 10^`decimals`, what is behind them cut off; digits in a string are as good.
    /// `None` when it is missing, something else or too large.
    pub fn number(&self, place: Place, key: &str, decimals: u8) -> Option<i64> {
        let mut found = None;
        self.find(place, key, &mut |index, value| {
            if index.is_none() {
                found = number(value, decimals);
            }
        });
        found
    }

    /// A boolean, or its name as a string. `None` when it is missing or something else.
    pub fn flag(&self, place: Place, key: &str) -> Option<bool> {
        let mut found = None;
        self.find(place, key, &mut |index, value| {
            if index.is_none() {
                found = match value {
                    Value::Bool(flag) => Some(flag),
                    Value::Text(text) => text.parse().ok(),
                    _ => None,
                };
            }
        });
        found
    }

    /// The first `N` numbers of an array times 10^`decimals`, and how many elements it has; `None`
    /// when it is missing or something else. An element that is no number is `None`.
    pub fn numbers<const N: usize>(
        &self,
        place: Place,
        key: &str,
        decimals: u8,
    ) -> Option<([Option<i64>; N], usize)> {
        let mut found = None;
        self.find(place, key, &mut |index, value| match (index, value) {
            (None, Value::Array) => found = Some(([None; N], 0)),
            (None, _) => found = None,
            (Some(index), value) => {
                if let Some((numbers, count)) = &mut found {
                    *count = index + 1;
                    if let Some(place) = numbers.get_mut(index) {
                        *place = number(value, decimals);
                    }
                }
            }
        });
        found
    }

    /// Whether there is a payload, and it is an object.
    pub fn has_payload(&self) -> bool {
        let mut found = false;
        self.find(Place::Flat, "payload", &mut |index, value| {
            found = index.is_none() && value == Value::Object;
        });
        found
    }

    /// Whether there is an argument of this key, whatever it says.
    pub fn has(&self, place: Place, key: &str) -> bool {
        let mut found = false;
        self.find(place, key, &mut |_, _| found = true);
        found
    }
}

fn number(value: Value<'_>, decimals: u8) -> Option<i64> {
    match value {
        Value::Number(text) | Value::Text(text) => fixed::parse(text, decimals),
        _ => None,
    }
}

/// What the parser is inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// The request or its payload.
    Arguments(Place),
    /// An array that is an argument.
    Elements(Place),
    /// Anything deeper.
    Other,
}

/// How deep is looked: the request, its payload, an array in it.
const DEPTH: usize = 3;

/// Goes through the line's object and shows its arguments.
fn scan(line: &[u8], see: &mut dyn FnMut(Argument<'_>)) -> Result<(), Malformed> {
    let mut scratch: Scratch = [0; line::MAX];
    let mut parser = Parser::new(line, &mut scratch);
    let mut way = heapless::Vec::<Inside, DEPTH>::new();
    // Containers that are open below the way, and all that are open.
    let mut below = 0u32;
    let mut brackets = Brackets::default();
    let mut keys: [Text<KEY>; 2] = [Text::new(), Text::new()];
    let mut index = 0;
    loop {
        let event = parser.next_event().map_err(|_| Malformed::Syntax)?;
        let inside = match below {
            0 => way.last().copied(),
            _ => Some(Inside::Other),
        };
        let value = match &event {
            Event::Key(key) => {
                if let Some(Inside::Arguments(place)) = inside {
                    keys[place as usize] = cut(key);
                }
                continue;
            }
            Event::EndObject | Event::EndArray => {
                brackets.close(matches!(event, Event::EndObject))?;
                if below > 0 {
                    below -= 1;
                } else {
                    way.pop();
                }
                if way.is_empty() {
                    return Ok(());
                }
                continue;
            }
            Event::String(text) => Value::Text(text),
            Event::Number(number) => Value::Number(number.as_str()),
            Event::Bool(value) => Value::Bool(*value),
            Event::StartArray => Value::Array,
            Event::StartObject => Value::Object,
            Event::Null => Value::Null,
            Event::EndDocument => return Err(Malformed::Syntax),
        };
        let opens = matches!(event, Event::StartObject | Event::StartArray);
        if opens {
            brackets.open(matches!(event, Event::StartObject))?;
        }
        let Some(inside) = inside else {
            // A value that is no object is no request, though it may be JSON.
            if !matches!(event, Event::StartObject) {
                return Err(if is_json(&mut parser, brackets) {
                    Malformed::NoCommand
                } else {
                    Malformed::Syntax
                });
            }
            let _ = way.push(Inside::Arguments(Place::Flat));
            continue;
        };
        let mut next = Inside::Other;
        match inside {
            Inside::Arguments(place) => {
                let key = keys[place as usize].as_str();
                next = match event {
                    Event::StartArray => Inside::Elements(place),
                    Event::StartObject if place == Place::Flat && key == "payload" => {
                        Inside::Arguments(Place::Payload)
                    }
                    _ => Inside::Other,
                };
                index = 0;
                see(Argument {
                    place,
                    key,
                    index: None,
                    value,
                });
            }
            Inside::Elements(place) => {
                see(Argument {
                    place,
                    key: &keys[place as usize],
                    index: Some(index),
                    value,
                });
                index += 1;
            }
            Inside::Other => {}
        }
        if opens && (next == Inside::Other || way.push(next).is_err()) {
            below += 1;
        }
    }
}

/// Whether the rest of a value that is no object is whole.
fn is_json(parser: &mut Parser<'_, '_>, mut open: Brackets) -> bool {
    while open.depth > 0 {
        let checked = match parser.next_event() {
            Ok(Event::StartObject) => open.open(true),
            Ok(Event::StartArray) => open.open(false),
            Ok(Event::EndObject) => open.close(true),
            Ok(Event::EndArray) => open.close(false),
            Ok(Event::EndDocument) | Err(_) => Err(Malformed::Syntax),
            Ok(_) => Ok(()),
        };
        if checked.is_err() {
            return false;
        }
    }
    true
}

/// The brackets that are open. The parser takes any bracket behind a number for the right one.
#[derive(Debug, Clone, Copy, Default)]
struct Brackets {
    /// A bit for each, the innermost lowest: it is an object's.
    objects: u32,
    depth: u32,
}

impl Brackets {
    fn open(&mut self, object: bool) -> Result<(), Malformed> {
        if self.depth == u32::BITS {
            return Err(Malformed::Syntax);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u32::from(object);
        Ok(())
    }

    fn close(&mut self, object: bool) -> Result<(), Malformed> {
        if self.depth == 0 || (self.objects & 1 == 1) != object {
            return Err(Malformed::Syntax);
        }
        self.depth -= 1;
        self.objects >>= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use super::*;

    fn parsed(line: &str) -> Result<String, Malformed> {
        let request = Request::parse(line.as_bytes())?;
        Ok(request.command.as_str().into())
    }

    #[test]
    fn a_request_is_an_object_with_a_command() {
        for (line, expected) in [
            (r#"{"cmd":"info"}"#, Ok("info")),
            (r#"  { "payload" : {} , "cmd" : "info" }  "#, Ok("info")),
            (r#"{"cmd":"info"}{"cmd":"stop"}"#, Ok("info")),
            (r#"{"cmd":"info"} and more"#, Ok("info")),
            (r#"{"cmd":"in\u0066o"}"#, Ok("info")),
            (r#"{"cmd":"stop","cmd":"info"}"#, Ok("info")),
            (
                r#"{"payload":{"cmd":"stop"},"x":[{"cmd":"stop"}],"cmd":"info"}"#,
                Ok("info"),
            ),
            ("{}", Err(Malformed::NoCommand)),
            ("[]", Err(Malformed::NoCommand)),
            ("null", Err(Malformed::NoCommand)),
            (r#""x""#, Err(Malformed::NoCommand)),
            ("5", Err(Malformed::NoCommand)),
            (r#"{"cmd":5}"#, Err(Malformed::NoCommand)),
            (r#"{"cmd":["info"]}"#, Err(Malformed::NoCommand)),
            (r#"{"payload":{"cmd":"info"}}"#, Err(Malformed::NoCommand)),
            ("", Err(Malformed::Syntax)),
            (r#"{"cmd":"info","a":[1}}"#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info","a":{"b":1]}"#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info","a":[}"#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info"]"#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info","a":[-30}}"#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info","a":[-30},"b":1}"#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info","a":1]}"#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info","a":[1,]}"#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info","a":01}"#, Err(Malformed::Syntax)),
            ("hello", Err(Malformed::Syntax)),
            ("[", Err(Malformed::Syntax)),
            (r#"{"cmd":"info""#, Err(Malformed::Syntax)),
            (r#"{"cmd":"info",}"#, Err(Malformed::Syntax)),
            (r#"{cmd:"info"}"#, Err(Malformed::Syntax)),
            ("{\"cmd\":\"in\tfo\"}", Err(Malformed::Syntax)),
            (r#"{"cmd":"in\xfo"}"#, Err(Malformed::Syntax)),
        ] {
            assert_eq!(parsed(line), expected.map(String::from), "{line}");
        }
        let bytes = b"{\"cmd\":\"\xff\"}";
        assert_eq!(Request::parse(bytes).unwrap_err(), Malformed::Syntax);
    }

    #[test]
    fn a_line_cut_at_any_byte_is_no_request() {
        let line = r#"{"cmd":"x","a":[1,-2.5e1,"\u00e9"],"payload":{"b":true,"c":null}}"#;
        for cut in 0..line.len() {
            assert!(Request::parse(&line.as_bytes()[..cut]).is_err(), "{cut}");
        }
        assert!(Request::parse(line.as_bytes()).is_ok());
    }

    #[test]
    fn nesting_has_an_end() {
        for depth in 1..250 {
            let line = format!(
                r#"{{"cmd":"x","a":{}{}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            );
            let parsed = Request::parse(line.as_bytes());
            assert!(parsed.is_ok() || depth > 20, "{depth}: {parsed:?}");
        }
    }

    #[test]
    fn arguments_are_found_where_they_stand() {
        let line = br#"{"cmd":"x","n":1,"a":[1,[7],"2.5",{"n":9},3],"s":"flat",
            "payload":{"n":"2","s":"in\"side","a":[0,3],"o":{"n":4},"last":true}}"#;
        let request = Request::parse(line).unwrap();
        let text = |place, key| {
            request
                .text::<8>(place, key)
                .map(|text| text.map(|t| String::from(t.as_str())))
        };
        assert_eq!(request.number(Place::Flat, "n", 0), Some(1));
        assert_eq!(request.number(Place::Payload, "n", 0), Some(2));
        assert_eq!(request.number(Place::Payload, "o", 0), None);
        assert_eq!(text(Place::Flat, "s"), Ok(Some("flat".into())));
        assert_eq!(text(Place::Payload, "s"), Ok(Some("in\"side".into())));
        assert_eq!(text(Place::Flat, "n"), Ok(None));
        assert_eq!(request.text::<3>(Place::Flat, "s"), Err(TooLong));
        let numbers = request.numbers::<4>(Place::Flat, "a", 1);
        assert_eq!(numbers, Some(([Some(10), None, Some(25), None], 5)));
        let numbers = request.numbers::<4>(Place::Payload, "a", 0);
        assert_eq!(numbers, Some(([Some(0), Some(3), None, None], 2)));
        assert_eq!(request.numbers::<4>(Place::Flat, "s", 0), None);
        assert!(request.has(Place::Payload, "last"));
        assert!(!request.has(Place::Flat, "last"));
        let mut keys = Vec::new();
        request.each(&mut |argument| {
            if argument.index.is_none() {
                keys.push(String::from(argument.key));
            }
        });
        assert_eq!(
            keys,
            ["cmd", "n", "a", "s", "payload", "n", "s", "a", "o", "last"]
        );
    }

    #[test]
    fn a_key_longer_than_any_is_none_of_ours() {
        let long = "cmd".repeat(20);
        let line = format!(r#"{{"{long}":"x","cmd":"{long}"}}"#);
        assert_eq!(parsed(&line), Ok(long[..KEY].into()));
    }
}

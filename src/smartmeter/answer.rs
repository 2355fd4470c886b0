//! What is written to a client: lines that begin with `Info:`, most of them one JSON object.

use ufmt::{uDisplay, uWrite, uwrite};

use super::fixed::Short;

/// Bytes of the longest piece of an answer, and what a client's connection takes at once.
pub const MAX: usize = 536;

/// Bytes of the longest answer that is known as a whole: all settings, each at its longest and escaped.
pub const LONGEST: usize = 1768;

const END: &str = "\r\n";

/// An answer being written, or a piece of it. RAM: 0.5 kB, on the stack while it is written.
///
/// Nothing is returned when it does not fit: [`MAX`] has room for each, which a test checks, and
/// [`bytes`](Self::bytes) is empty otherwise.
#[derive(Debug, Default)]
pub struct Answer {
    text: heapless::String<MAX>,
    overflow: bool,
    first: bool,
}

impl Answer {
    /// Empty.
    pub const fn new() -> Self {
        Self {
            text: heapless::String::new(),
            overflow: false,
            first: true,
        }
    }

    /// Forgets all that was written.
    pub fn clear(&mut self) {
        self.text.clear();
        self.overflow = false;
    }

    /// All that was written.
    pub fn bytes(&self) -> &[u8] {
        if self.overflow {
            return &[];
        }
        self.text.as_bytes()
    }

    /// Whether so many bytes more fit.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.text.len().saturating_add(bytes) <= MAX
    }

    /// Writes a part of a line as it is, for an answer that is longer than [`MAX`].
    pub fn part(&mut self, text: &str) {
        self.raw(text);
    }

    /// Writes a part of a JSON string, for an answer that is longer than [`MAX`].
    pub fn escaped_part(&mut self, text: &str) {
        let _ = Escaped(self).write_str(text);
    }

    fn raw(&mut self, text: &str) {
        self.overflow |= self.text.push_str(text).is_err();
    }

    fn print(&mut self, value: impl uDisplay) {
        // Its only error is told by `overflow`.
        let _ = uwrite!(self, "{}", value);
    }

    /// Writes one line of text.
    pub fn line(&mut self, write: impl FnOnce(&mut Self)) {
        self.raw("Info:");
        write(self);
        self.raw(END);
    }

    /// Writes one object.
    pub fn object(&mut self, write: impl FnOnce(&mut Self)) {
        self.line(|answer| answer.braces(write));
    }

    /// Begins an object that has several pieces.
    pub fn begin(&mut self) {
        self.raw("Info:{");
        self.first = true;
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.raw("}");
        self.raw(END);
    }

    /// Goes on with an object that an earlier piece has begun; `first` when it has no key yet.
    pub fn resume(&mut self, first: bool) {
        self.first = first;
    }

    fn braces(&mut self, write: impl FnOnce(&mut Self)) {
        self.raw("{");
        self.first = true;
        write(self);
        self.first = false;
        self.raw("}");
    }

    fn key(&mut self, key: &str) {
        if !core::mem::take(&mut self.first) {
            self.raw(",");
        }
        self.text(key);
        self.raw(":");
    }

    fn text(&mut self, text: &str) {
        self.raw("\"");
        let _ = Escaped(self).write_str(text);
        self.raw("\"");
    }

    /// The two keys that nearly every answer begins with.
    pub fn head(&mut self, error: bool, command: &str) {
        self.flag("error", error);
        self.string("cmd", command);
    }

    /// A string.
    pub fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text(value);
    }

    /// A string that is put together.
    pub fn composed(&mut self, key: &str, write: impl FnOnce(&mut Escaped<'_>)) {
        self.key(key);
        self.raw("\"");
        write(&mut Escaped(self));
        self.raw("\"");
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.raw(if value { "true" } else { "false" });
    }

    /// A number.
    pub fn number(&mut self, key: &str, value: impl uDisplay) {
        self.key(key);
        self.print(value);
    }

    /// Numbers of the three phases or of the six factors; one that is not known is `null`.
    pub fn numbers(
        &mut self,
        key: &str,
        decimals: u8,
        values: impl IntoIterator<Item = Option<i64>>,
    ) {
        self.key(key);
        let mut separator = "[";
        for value in values {
            self.raw(separator);
            separator = ",";
            match value {
                Some(value) => self.print(Short { value, decimals }),
                None => self.raw("null"),
            }
        }
        self.raw("]");
    }

    /// An object in the object.
    pub fn nested(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        self.key(key);
        self.braces(write);
    }
}

/// Where an answer goes.
///
/// It is written and handed over in one go, with nothing awaited in between, so that it needs no memory but the
/// stack's. Who takes it has seen to it that there is room for a piece.
pub trait Reply {
    /// Has an answer written, or a piece of it, and hands it over.
    fn compose(&mut self, write: &mut dyn FnMut(&mut Answer));
}

impl dyn Reply + '_ {
    /// Hands over what is written once.
    pub fn pass(&mut self, write: impl FnOnce(&mut Answer)) {
        let mut write = Some(write);
        self.compose(&mut |answer| {
            if let Some(write) = write.take() {
                write(answer);
            }
        });
    }

    /// Hands over one line of text.
    pub fn line(&mut self, write: impl FnOnce(&mut Answer)) {
        self.pass(|answer| answer.line(write));
    }

    /// Hands over one object.
    pub fn object(&mut self, write: impl FnOnce(&mut Answer)) {
        self.pass(|answer| answer.object(write));
    }
}

/// Keeps the last piece.
impl Reply for Answer {
    fn compose(&mut self, write: &mut dyn FnMut(&mut Answer)) {
        self.clear();
        write(self);
    }
}

/// An answer of up to `N` bytes, put together of its pieces.
#[derive(Debug, Default)]
pub struct Whole<const N: usize = LONGEST> {
    text: heapless::Vec<u8, N>,
    overflow: bool,
}

impl<const N: usize> Whole<N> {
    /// Empty.
    pub const fn new() -> Self {
        Self {
            text: heapless::Vec::new(),
            overflow: false,
        }
    }

    /// Forgets the pieces.
    pub fn clear(&mut self) {
        self.text.clear();
        self.overflow = false;
    }

    /// Whether it had no room for all.
    pub fn has_overflown(&self) -> bool {
        self.overflow
    }

    /// All that was written.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// The JSON alone, without `Info:` and line end, as MQTT has it.
    pub fn json(&self) -> &[u8] {
        let bytes = self.bytes();
        let bytes = bytes.strip_prefix(b"Info:").unwrap_or(bytes);
        bytes.strip_suffix(END.as_bytes()).unwrap_or(bytes)
    }
}

impl<const N: usize> Reply for Whole<N> {
    fn compose(&mut self, write: &mut dyn FnMut(&mut Answer)) {
        let mut answer = Answer::new();
        write(&mut answer);
        self.overflow |= self.text.extend_from_slice(answer.bytes()).is_err();
    }
}

impl uWrite for Answer {
    type Error = core::convert::Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Self::Error> {
        self.raw(text);
        Ok(())
    }
}

/// Writes into a JSON string.
pub struct Escaped<'a>(&'a mut Answer);

impl uWrite for Escaped<'_> {
    type Error = core::convert::Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Self::Error> {
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate() {
            if !matches!(byte, b'"' | b'\\' | 0..b' ') {
                continue;
            }
            self.0.raw(text.get(plain..at).unwrap_or_default());
            plain = at + 1;
            match byte {
                b'"' => self.0.raw("\\\""),
                b'\\' => self.0.raw("\\\\"),
                control => {
                    let _ = uwrite!(self.0, "\\u00{}{:x}", control / 16, control % 16);
                }
            }
        }
        self.0.raw(text.get(plain..).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn written(write: impl FnOnce(&mut Answer)) -> String {
        let mut answer = Answer::new();
        write(&mut answer);
        String::from_utf8(answer.bytes().to_vec()).unwrap()
    }

    #[test]
    fn an_object_keeps_its_keys_order() {
        let line = written(|answer| {
            answer.object(|answer| {
                answer.head(false, "x");
                answer.numbers("a", 3, [Some(228_400), None, Some(-5)]);
                answer.nested("o", |answer| answer.string("k", "v"));
                answer.nested("empty", |_| {});
                answer.number("n", 7u32);
            });
        });
        let expected = r#"Info:{"error":false,"cmd":"x","a":[228.4,null,-0.005],"o":{"k":"v"},"empty":{},"n":7}"#;
        assert_eq!(line, String::from(expected) + "\r\n");
    }

    #[test]
    fn strings_are_escaped() {
        let nasty = "a\"b\\c\nd\u{1f}é\u{7f}";
        let line = written(|answer| {
            answer.object(|answer| {
                answer.string(nasty, nasty);
                answer.composed("c", |text| {
                    let _ = uwrite!(text, "<{}>", nasty);
                });
            });
        });
        let json: serde_json::Value = serde_json::from_str(&line["Info:".len()..]).unwrap();
        assert_eq!(json[nasty], nasty);
        assert_eq!(json["c"], std::format!("<{nasty}>"));
    }

    #[test]
    fn what_does_not_fit_is_not_sent_in_part() {
        let long = "x".repeat(MAX);
        assert_eq!(
            written(|answer| answer.object(|answer| answer.string("k", &long))),
            ""
        );
    }
}

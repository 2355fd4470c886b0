//! Typed access to the keys of a TOML table: what does not fit becomes a problem with its line.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{self, Problem};

/// The problems met so far, and what turns a byte offset into a line.
pub struct Problems<'t> {
    file: &'t str,
    /// Offsets of the line ends.
    line_ends: Vec<usize>,
    pub list: Vec<Problem>,
    /// Rows were left out, so what is missing among the rest proves nothing.
    pub rows_left_out: bool,
}

impl<'t> Problems<'t> {
    pub fn new(file: &'t str, text: &str) -> Self {
        Self {
            file,
            line_ends: text.match_indices('\n').map(|(at, _)| at).collect(),
            list: Vec::new(),
            rows_left_out: false,
        }
    }

    pub fn line(&self, at: Range<usize>) -> usize {
        1 + self.line_ends.partition_point(|&end| end < at.start)
    }

    pub fn add(&mut self, line: usize, message: String) {
        // It may quote a value with any character; a problem is one line.
        let shown = |character: char| match character.is_control() {
            true => character.escape_default().to_string(),
            false => character.to_string(),
        };
        let message = message.chars().map(shown).collect();
        self.list.push(Problem {
            file: self.file.to_string(),
            line,
            message,
        });
    }

    pub fn wrong_type(&mut self, key: &str, expected: &str, value: &Spanned<DeValue>) {
        let found = value.get_ref().type_str();
        let message = problem::wrong_type(key, expected, found);
        self.add(self.line(value.span()), message);
    }
}

/// A string of the table and its line.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    pub line: usize,
    pub text: &'a str,
}

/// The keys of one TOML table.
pub struct Fields<'a, 'i> {
    table: &'a DeTable<'i>,
    /// What a user calls this table.
    place: &'a str,
    line: usize,
}

impl<'a, 'i> Fields<'a, 'i> {
    pub fn new(table: &'a DeTable<'i>, place: &'a str, line: usize) -> Self {
        Self { table, place, line }
    }

    pub fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    /// Whether the key is missing or an empty array.
    pub fn none(&self, key: &str) -> bool {
        let value = self.value(key).map(Spanned::get_ref);
        value.is_none_or(|value| value.as_array().is_some_and(|array| array.is_empty()))
    }

    /// Reports each key that is not in `valid`.
    pub fn deny_unknown(&self, valid: &[&str], problems: &mut Problems) {
        for key in self.table.keys() {
            if !valid.contains(&key.get_ref().as_ref()) {
                let message = problem::unknown_key(key.get_ref(), self.place, valid);
                problems.add(problems.line(key.span()), message);
            }
        }
    }

    pub fn text(&self, key: &str, problems: &mut Problems) -> Option<Text<'a>> {
        let value = self.value(key)?;
        let line = problems.line(value.span());
        match value.get_ref().as_str() {
            None => problems.wrong_type(key, "a string", value),
            Some(text) if text.trim().is_empty() => {
                problems.add(line, problem::empty_text(key));
            }
            Some(text) => return Some(Text { line, text }),
        }
        None
    }

    pub fn require(&self, key: &str, problems: &mut Problems) {
        if self.value(key).is_none() {
            problems.add(self.line, problem::missing_key(key, self.place));
        }
    }

    pub fn required_text(&self, key: &str, problems: &mut Problems) -> Option<Text<'a>> {
        self.require(key, problems);
        self.text(key, problems)
    }

    /// A word out of a set.
    pub fn word(&self, key: &str, valid: &[&str], problems: &mut Problems) -> Option<Text<'a>> {
        let word = self.text(key, problems)?;
        if !valid.contains(&word.text) {
            let message = problem::unknown_value(key, word.text, valid);
            problems.add(word.line, message);
            return None;
        }
        Some(word)
    }

    /// The line for people, empty when it is missing.
    pub fn description(&self, problems: &mut Problems) -> String {
        let Some(found) = self.required_text("description", problems) else {
            return String::new();
        };
        if found.text.chars().any(char::is_control) {
            problems.add(found.line, problem::several_lines("description"));
        }
        found.text.to_string()
    }

    pub fn texts(&self, key: &str, problems: &mut Problems) -> Vec<Text<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            problems.wrong_type(key, "an array of strings", value);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_str() {
                None => problems.wrong_type(key, "strings in an array", item),
                Some(text) => {
                    let line = problems.line(item.span());
                    texts.push(Text { line, text });
                }
            }
        }
        texts
    }

    pub fn phase(&self, problems: &mut Problems) -> Option<u8> {
        let value = self.value("phase")?;
        let Some(integer) = value.get_ref().as_integer() else {
            problems.wrong_type("phase", "1, 2 or 3", value);
            return None;
        };
        let phase = integer.as_str().parse().ok();
        let phase = phase.filter(|phase| (1..=3).contains(phase));
        if phase.is_none() {
            let message = problem::phase_range(&integer.to_string());
            problems.add(problems.line(value.span()), message);
        }
        phase
    }

    /// The line on which a flag is set.
    pub fn flag(&self, key: &str, problems: &mut Problems) -> Option<usize> {
        let value = self.value(key)?;
        let Some(set) = value.get_ref().as_bool() else {
            problems.wrong_type(key, "true or false", value);
            return None;
        };
        set.then(|| problems.line(value.span()))
    }
}

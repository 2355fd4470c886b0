//! Makes the assembly text that LLVM prints for the lx106 fit for GNU as, and smaller.
//!
//! `xtask/lx106/README.md` says why this is needed and what it is worth.

use std::collections::HashSet;
use std::fmt;

/// Text that cannot be brought into shape.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

/// Moves each function's literals into its section and calls known functions directly.
pub fn prepare(text: &str) -> Result<String, Problem> {
    let lines = in_gnu_dialect(reorder(text)?);
    let lines = without_unused_literals(call_directly(lines));
    let lines = move_stack_at_once(lines);
    let mut out = String::with_capacity(text.len());
    for line in lines {
        out.push_str(line.text());
        out.push('\n');
    }
    Ok(out)
}

/// A line as it came, or one written here.
#[derive(Clone)]
enum Line<'a> {
    Given(&'a str),
    Written(String),
}

impl Line<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Written(text) => text,
        }
    }
}

/// What a line of assembly is, as far as it matters here.
enum Statement<'a> {
    Label(&'a str),
    Literal {
        name: &'a str,
        value: &'a str,
    },
    Directive {
        name: &'a str,
        rest: &'a str,
    },
    Instruction {
        mnemonic: &'a str,
        operands: &'a str,
    },
    Nothing,
}

fn statement(line: &str) -> Statement<'_> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Statement::Nothing;
    }
    let (word, rest) = line
        .split_once(|c: char| c.is_ascii_whitespace())
        .map_or((line, ""), |(word, rest)| (word, rest.trim()));
    if let Some(label) = word.strip_suffix(':') {
        return Statement::Label(label);
    }
    if word == ".literal"
        && let Some((name, value)) = rest.split_once(',')
    {
        return Statement::Literal {
            name: name.trim(),
            value: value.trim(),
        };
    }
    match word.starts_with('.') {
        true => Statement::Directive { name: word, rest },
        false => Statement::Instruction {
            mnemonic: word,
            operands: rest,
        },
    }
}

/// LLVM prints a function's literals before the `.section` line of that function, so that they land in the section before it, out of
/// the reach of `l32r`.
fn reorder(text: &str) -> Result<Vec<Line<'_>>, Problem> {
    let mut out = Vec::new();
    let mut waiting: Vec<(usize, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match statement(line) {
            Statement::Directive {
                name: ".literal_position",
                ..
            } => {}
            Statement::Literal { .. } => waiting.push((number + 1, line)),
            Statement::Directive {
                name: ".literal", ..
            } => {
                return Err(Problem {
                    line: number + 1,
                    message: format!("a literal without a value: {}", line.trim()),
                });
            }
            Statement::Directive {
                name: ".type",
                rest,
            } if rest.ends_with("@function") => {
                out.push(Line::Given(line));
                if !waiting.is_empty() {
                    out.push(Line::Written("\t.literal_position".to_owned()));
                    out.extend(waiting.drain(..).map(|(_, line)| Line::Given(line)));
                }
            }
            _ => out.push(Line::Given(line)),
        }
    }
    match waiting.first() {
        None => Ok(out),
        Some(&(line, text)) => Err(Problem {
            line,
            message: format!("no function follows this literal: {}", text.trim()),
        }),
    }
}

/// GNU as has no call frame information for this core, and wants a source file's folder and name in one.
fn in_gnu_dialect(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    lines
        .into_iter()
        .filter_map(|line| match statement(line.text()) {
            Statement::Directive { name, .. } if name.starts_with(".cfi_") => None,
            Statement::Directive {
                name: ".file",
                rest,
            } => match rest.split_once("\" \"") {
                Some((folder, name)) => Some(Line::Written(format!("\t.file\t{folder}/{name}"))),
                None => Some(line),
            },
            _ => Some(line),
        })
        .collect()
}

/// LLVM loads every function's address from a literal before it calls it. GNU as and ld know how to reach a near function
/// with one instruction, if only the call says whom it means.
fn call_directly(mut lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    let jumped_to = mentioned_labels(&lines);
    let mut dropped = HashSet::new();
    for at in 0..lines.len() {
        let Some((register, label)) = loaded_literal(lines[at].text()) else {
            continue;
        };
        let Some(callee) = function_in(&lines, at, label) else {
            continue;
        };
        if let Some(call) = its_call(&lines[at + 1..], register, &jumped_to) {
            let written = Line::Written(format!("\tcall0\t{callee}"));
            dropped.insert(at);
            lines[at + 1 + call] = written;
        }
    }
    without(lines, &dropped)
}

/// `l32r a8, .LCPI3_0`: the register and the literal's label.
fn loaded_literal(line: &str) -> Option<(&str, &str)> {
    let Statement::Instruction {
        mnemonic: "l32r",
        operands,
    } = statement(line)
    else {
        return None;
    };
    let (register, label) = operands.split_once(',')?;
    Some((register.trim(), label.trim()))
}

/// The symbol that the literal holds, searched backwards from its use: names of literals are unique in a file, and their
/// place is at the head of the function.
fn function_in(lines: &[Line<'_>], from: usize, label: &str) -> Option<String> {
    let value = lines[..from]
        .iter()
        .rev()
        .find_map(|line| match statement(line.text()) {
            Statement::Literal { name, value } if name == label => Some(value),
            _ => None,
        })?;
    // A number, or a place so many bytes behind a symbol, is no function.
    let is_symbol = value.starts_with(|c: char| c.is_ascii_alphabetic() || "_.".contains(c))
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.$".contains(c));
    is_symbol.then(|| value.to_owned())
}

/// Where, in the straight line of code that follows, the function in `register` is called, if nothing else looks at the
/// register: after the call nobody may, since the ABI gives it to the callee.
fn its_call(lines: &[Line<'_>], register: &str, jumped_to: &HashSet<String>) -> Option<usize> {
    if !given_to_callee(register) {
        return None;
    }
    for (at, line) in lines.iter().enumerate() {
        match statement(line.text()) {
            Statement::Nothing => {}
            Statement::Directive { name: ".loc", .. } => {}
            Statement::Directive { .. } | Statement::Literal { .. } => return None,
            // The debugger's marks are labels too, and nobody jumps there.
            Statement::Label(label) if label.starts_with(".Ltmp") && !jumped_to.contains(label) => {
            }
            Statement::Label(_) => return None,
            Statement::Instruction {
                mnemonic: "callx0",
                operands,
            } => return (operands == register).then_some(at),
            Statement::Instruction { mnemonic, operands } => {
                let uses = words(operands).any(|word| word == register);
                if uses || !falls_through(mnemonic) {
                    return None;
                }
            }
        }
    }
    None
}

/// Registers that a function may change under the call0 ABI: a0 and a2 to a11.
fn given_to_callee(register: &str) -> bool {
    matches!(
        register.strip_prefix('a').and_then(|n| n.parse().ok()),
        Some(0 | 2..=11)
    )
}

fn falls_through(mnemonic: &str) -> bool {
    let jumps = ["b", "call", "j", "ret", "rf", "ill", "sys", "wai", "sim"];
    !jumps.iter().any(|start| mnemonic.starts_with(start))
}

fn words(operands: &str) -> impl Iterator<Item = &str> {
    operands
        .split(|c: char| c == ',' || c == '+' || c.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
}

/// Labels that an instruction, a literal or data names; the debugger's own sections do not count.
fn mentioned_labels(lines: &[Line<'_>]) -> HashSet<String> {
    let mut labels = HashSet::new();
    let mut debugger = false;
    for line in lines {
        let text = match statement(line.text()) {
            Statement::Directive {
                name: ".section",
                rest,
            } => {
                debugger = rest.starts_with(".debug");
                continue;
            }
            Statement::Directive {
                name: ".text" | ".data" | ".bss",
                ..
            } => {
                debugger = false;
                continue;
            }
            Statement::Instruction { operands, .. } => operands,
            Statement::Literal { value, .. } => value,
            Statement::Directive {
                name: ".long" | ".word" | ".4byte",
                rest,
            } if !debugger => rest,
            _ => continue,
        };
        labels.extend(
            words(text)
                .filter(|w| w.starts_with(".L"))
                .map(str::to_owned),
        );
    }
    labels
}

/// LLVM moves the stack pointer in two steps, by way of a8. One will do where a8 is not looked at afterwards.
fn move_stack_at_once(mut lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    let mut dropped = HashSet::new();
    for at in 0..lines.len() {
        let Some(step) = stack_step(lines[at].text()) else {
            continue;
        };
        let Some(second) = next_instruction(&lines[at + 1..]) else {
            continue;
        };
        let second = at + 1 + second;
        let copies = matches!(
            statement(lines[second].text()),
            Statement::Instruction { mnemonic: "or", operands } if words(operands).eq(["a1", "a8", "a8"])
        );
        if copies && is_dead("a8", &lines[second + 1..]) {
            lines[at] = Line::Written(format!("\taddi\ta1, a1, {step}"));
            dropped.insert(second);
        }
    }
    without(lines, &dropped)
}

/// `addi a8, a1, -32`: by how much.
fn stack_step(line: &str) -> Option<String> {
    let Statement::Instruction {
        mnemonic: "addi",
        operands,
    } = statement(line)
    else {
        return None;
    };
    match words(operands).collect::<Vec<_>>()[..] {
        ["a8", "a1", step] => Some(step.to_owned()),
        _ => None,
    }
}

/// Where the next instruction is, if nothing but the debugger's lines stand before it.
fn next_instruction(lines: &[Line<'_>]) -> Option<usize> {
    for (at, line) in lines.iter().enumerate() {
        match statement(line.text()) {
            Statement::Nothing | Statement::Directive { name: ".loc", .. } => {}
            Statement::Instruction { .. } => return Some(at),
            _ => return None,
        }
    }
    None
}

/// Instructions that write their first operand and only read the others.
const WRITERS: &[&str] = &[
    "add", "addi", "addmi", "addx2", "addx4", "addx8", "and", "extui", "l16si", "l16ui", "l32i",
    "l32r", "l8ui", "movi", "mull", "neg", "or", "sll", "slli", "sra", "srai", "src", "srl",
    "srli", "sub", "subx2", "subx4", "subx8", "xor",
];

/// Whether the straight line of code that follows gives the register another value, or leaves it to others, before it reads it.
fn is_dead(register: &str, lines: &[Line<'_>]) -> bool {
    for line in lines {
        match statement(line.text()) {
            Statement::Nothing | Statement::Directive { name: ".loc", .. } => {}
            // A mark, or the head of a loop: what comes in there matters to those who jump. Those who fall in go on.
            Statement::Label(_) => {}
            Statement::Directive { .. } | Statement::Literal { .. } => return false,
            Statement::Instruction { mnemonic, operands } => {
                let mut operands = words(operands);
                let first = operands.next();
                if operands.any(|operand| operand == register) {
                    return false;
                }
                let writes = WRITERS.contains(&mnemonic);
                if first == Some(register) {
                    return writes;
                }
                match mnemonic {
                    // The ABI passes nothing in it, either way, and keeps nothing in it.
                    "ret" | "call0" | "callx0" => return given_to_callee(register),
                    _ if !falls_through(mnemonic) => return false,
                    _ => {}
                }
            }
        }
    }
    false
}

/// The lines whose numbers are not in `dropped`.
fn without<'a>(mut lines: Vec<Line<'a>>, dropped: &HashSet<usize>) -> Vec<Line<'a>> {
    let mut number = 0;
    lines.retain(|_| {
        number += 1;
        !dropped.contains(&(number - 1))
    });
    lines
}

fn without_unused_literals(mut lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    let used: HashSet<String> = lines
        .iter()
        .filter_map(|line| loaded_literal(line.text()))
        .map(|(_, label)| label.to_owned())
        .collect();
    lines.retain(|line| match statement(line.text()) {
        // Another name than LLVM's own may be meant for other files.
        Statement::Literal { name, .. } => !name.starts_with(".LCPI") || used.contains(name),
        _ => true,
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str) -> Vec<String> {
        prepare(text)
            .unwrap()
            .lines()
            .map(|line| line.trim().replace('\t', " "))
            .collect()
    }

    #[test]
    fn literals_follow_their_functions_type_line() {
        let text = "\t.literal_position\n\t.literal .LCPI0_0, 1234567\n\t.section .text.f,\"ax\",@progbits\n\
                    \t.type\tf,@function\nf:\n\tl32r\ta2, .LCPI0_0\n\tret\n";
        assert_eq!(
            prepared(text),
            [
                ".section .text.f,\"ax\",@progbits",
                ".type f,@function",
                ".literal_position",
                ".literal .LCPI0_0, 1234567",
                "f:",
                "l32r a2, .LCPI0_0",
                "ret"
            ]
        );
    }

    #[test]
    fn an_object_between_a_literal_and_its_function_takes_no_literal() {
        let text = ".literal .LCPI0_0, 7\n.type table,@object\ntable:\n.type f,@function\nf:\nl32r a2, .LCPI0_0\n";
        let lines = prepared(text);
        assert_eq!(lines[0], ".type table,@object");
        assert_eq!(lines[4], ".literal .LCPI0_0, 7");
    }

    #[test]
    fn carriage_returns_comments_and_a_missing_last_line_end_do_no_harm() {
        let text =
            "# one\r\n.literal .LCPI0_0, 7\r\n.type f,@function\r\nf:\r\nl32r a2, .LCPI0_0\r\nret";
        let lines = prepared(text);
        assert_eq!(lines[3], ".literal .LCPI0_0, 7");
        assert_eq!(lines.last().unwrap(), "ret");
    }

    #[test]
    fn text_inside_a_string_is_no_literal() {
        let text = "\t.ascii\t\".literal .LCPI0_0, 7\"\n";
        assert_eq!(prepared(text), [".ascii \".literal .LCPI0_0, 7\""]);
    }

    #[test]
    fn a_source_files_folder_and_name_become_one() {
        let text = "\t.file\t\"unit\"\n\t.file\t2 \"/a b/core\" \"range.rs\"\n";
        assert_eq!(
            prepared(text),
            [".file \"unit\"", ".file 2 \"/a b/core/range.rs\""]
        );
    }

    #[test]
    fn a_literal_that_no_function_follows_is_named_with_its_line() {
        let problem = prepare(".type f,@function\nf:\nret\n.literal .LCPI9_0, 7\n").unwrap_err();
        assert_eq!(
            problem.to_string(),
            "4: no function follows this literal: .literal .LCPI9_0, 7"
        );
    }

    #[test]
    fn a_literal_without_a_value_is_named_with_its_line() {
        let problem = prepare("\n.literal .LCPI9_0\n.type f,@function\n").unwrap_err();
        assert_eq!(
            problem.to_string(),
            "2: a literal without a value: .literal .LCPI9_0"
        );
    }

    /// The body of a function whose literals .LCPI0_0 and .LCPI0_1 hold the functions `g` and `h`.
    fn body(text: &str) -> Vec<String> {
        let head = ".literal .LCPI0_0, g\n.literal .LCPI0_1, h\n.type f,@function\nf:\n";
        let lines = prepared(&format!("{head}{text}"));
        let label = lines.iter().position(|line| line == "f:").unwrap();
        lines[label + 1..].to_vec()
    }

    #[test]
    fn a_call_through_a_literal_becomes_direct_and_the_literal_goes() {
        let text = ".literal .LCPI0_0, g\n.type f,@function\nf:\nl32r a8, .LCPI0_0\nor a2, a12, a12\ncallx0 a8\nret\n";
        assert_eq!(
            prepared(text),
            [
                ".type f,@function",
                ".literal_position",
                "f:",
                "or a2, a12, a12",
                "call0 g",
                "ret"
            ]
        );
    }

    #[test]
    fn two_calls_in_a_row_each_get_their_own_callee() {
        let text = "l32r a8, .LCPI0_0\ncallx0 a8\nl32r a8, .LCPI0_1\ncallx0 a8\n";
        assert_eq!(body(text), ["call0 g", "call0 h"]);
    }

    #[test]
    fn a_literal_that_is_loaded_elsewhere_too_stays() {
        let text = "l32r a8, .LCPI0_0\ncallx0 a8\nl32r a2, .LCPI0_0\nret\n";
        let all = prepared(&format!(
            ".literal .LCPI0_0, g\n.type f,@function\nf:\n{text}"
        ));
        assert!(all.contains(&".literal .LCPI0_0, g".to_owned()));
        assert_eq!(body(text), ["call0 g", "l32r a2, .LCPI0_0", "ret"]);
    }

    #[test]
    fn the_debuggers_marks_do_not_stand_between() {
        let text = "l32r a8, .LCPI0_0\n.loc 1 2 3\n.Ltmp4:\n.cfi_offset a0, -4\ncallx0 a8\n";
        assert_eq!(body(text), [".loc 1 2 3", ".Ltmp4:", "call0 g"]);
    }

    #[test]
    fn a_call_that_may_see_another_address_stays() {
        for between in [
            ".LBB0_1:\n",                 // a jump may come in with another address
            ".Ltmp1:\nbeqz a2, .Ltmp1\n", // the same, for a mark that somebody jumps to
            "beqz a2, .LBB0_2\n",         // the address may be wanted there
            "addi a8, a8, 4\n",
            "s32i a8, a1, 4\n",
            "callx0 a9\n",
            ".section .text.other\n",
        ] {
            let text = format!("l32r a8, .LCPI0_0\n{between}callx0 a8\n");
            let expected: Vec<String> = text.lines().map(str::to_owned).collect();
            assert_eq!(body(&text), expected, "{between}");
        }
    }

    #[test]
    fn a_jump_back_to_a_mark_keeps_the_load() {
        let text = "l32r a8, .LCPI0_0\n.Ltmp1:\ncallx0 a8\nbnez a2, .Ltmp1\n";
        assert_eq!(body(text)[0], "l32r a8, .LCPI0_0");
    }

    #[test]
    fn a_register_that_outlives_the_call_stays() {
        let text = "l32r a12, .LCPI0_0\ncallx0 a12\ncallx0 a12\n";
        assert_eq!(body(text)[..2], ["l32r a12, .LCPI0_0", "callx0 a12"]);
    }

    #[test]
    fn a_call_to_a_number_or_behind_a_symbol_stays() {
        for value in ["1073741824", "g+4", "-1"] {
            let text = format!(
                ".literal .LCPI0_0, {value}\n.type f,@function\nl32r a8, .LCPI0_0\ncallx0 a8\n"
            );
            assert_eq!(prepared(&text).last().unwrap(), "callx0 a8", "{value}");
        }
    }

    #[test]
    fn the_stack_pointer_moves_at_once() {
        let text =
            "addi a8, a1, -16\n.loc 1 2 3\nor a1, a8, a8\ns32i a0, a1, 0\nl32i a8, a2, 0\nret\n";
        assert_eq!(
            body(text),
            [
                "addi a1, a1, -16",
                ".loc 1 2 3",
                "s32i a0, a1, 0",
                "l32i a8, a2, 0",
                "ret"
            ]
        );
        assert_eq!(
            body("addi a8, a1, 16\nor a1, a8, a8\nret\n"),
            ["addi a1, a1, 16", "ret"]
        );
    }

    #[test]
    fn a_step_stays_where_its_register_may_be_read() {
        for after in [
            "add a2, a8, a3\nret\n",
            "s32i a8, a1, 0\nret\n",
            "addi a8, a8, 4\nret\n",
            "moveqz a8, a2, a3\nret\n", // keeps the old value if a3 is not 0
            "beqz a2, .LBB0_1\nret\n",  // perhaps there
            "callx0 a8\nret\n",
            ".section .text.other\nret\n",
        ] {
            let text = format!("addi a8, a1, -16\nor a1, a8, a8\n{after}");
            assert_eq!(body(&text)[1], "or a1, a8, a8", "{after}");
        }
    }

    #[test]
    fn other_steps_and_copies_stay() {
        for text in [
            "addi a8, a2, -16\nor a1, a8, a8\nret\n",
            "addi a8, a1, -16\nor a2, a8, a8\nret\n",
            "addi a8, a1, -16\nor a1, a8, a9\nret\n",
            "addi a8, a1, -16\n.LBB0_1:\nor a1, a8, a8\nret\n", // somebody comes in with another a8
        ] {
            let expected: Vec<&str> = text.lines().collect();
            assert_eq!(body(text), expected);
        }
    }
}

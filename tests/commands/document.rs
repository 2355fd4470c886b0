//! docs/commands.md has every command and every setting. `UPDATE_GOLDEN=1` writes its tables anew.

use std::{fs, path::Path};

use metertrekker::{
    settings::{Form, KEYS, Settings},
    smartmeter::command::COMMANDS,
};

use super::goldens;

fn commands() -> String {
    let rows = COMMANDS.iter().map(|command| {
        let request = format!(r#"{{"cmd":"{}"{}}}"#, command.name, command.arguments);
        format!("| `{request}` | {} |\n", command.about)
    });
    "| request | what for |\n|---|---|\n".to_owned() + &rows.collect::<String>()
}

fn settings() -> String {
    let defaults = Settings::default();
    let rows = KEYS.iter().map(|key| {
        let default = match (key.form, defaults.get(key.name).as_str()) {
            (_, "") => String::new(),
            (Form::Text, text) => format!("`\"{text}\"`"),
            (_, text) => format!("`{text}`"),
        };
        format!("| `{}` | {default} | {} |\n", key.name, key.expected)
    });
    "| key | default | values |\n|---|---|---|\n".to_owned() + &rows.collect::<String>()
}

/// The text with what stands between the markers replaced.
fn with(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name}:begin -->\n"),
        format!("<!-- {name}:end -->"),
    );
    let (before, rest) = text.split_once(&begin).expect(&begin);
    let (_, after) = rest.split_once(&end).expect(&end);
    format!("{before}{begin}\n{table}\n{end}{after}")
}

#[test]
fn the_page_lists_every_command_and_every_setting() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
    let page = fs::read_to_string(&path).unwrap();
    let expected = with(
        &with(&page, "commands", &commands()),
        "settings",
        &settings(),
    );
    if goldens::is_updated("UPDATE_GOLDEN") {
        fs::write(path, expected).unwrap();
        return;
    }
    assert!(
        page == expected,
        "docs/commands.md: UPDATE_GOLDEN=1 cargo test --test commands"
    );
}

/// README's table is for people, and has several in a row.
#[test]
fn the_first_page_names_every_setting() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once("Settings are given with").unwrap();
    let (table, _) = rest.split_once("These are all there are").unwrap();
    let missing = KEYS.iter().map(|key| key.name);
    let missing = missing.filter(|name| !table.contains(&format!("`{name}`")));
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
}

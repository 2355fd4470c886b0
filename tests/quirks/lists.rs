//! Failure logs, peaks, histories.

use super::{
    BELGIAN, DUTCH, HUNGARIAN, named_by,
    support::telegram::{read, telegram},
    topic,
};

fn failures(line: &str) -> String {
    let topic = topic(DUTCH, "/mains/report/powerfailure_details", &[line]);
    topic.unwrap_or_else(|| panic!("{line}"))
}

fn peaks(line: &str) -> String {
    let topic = topic(BELGIAN, "/mains/demand/peak_history", &[line]);
    topic.unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn an_empty_failure_log_has_four_forms() {
    for groups in ["()", "(0)()", "(0)(0-0:96.7.19)", "(0)"] {
        assert_eq!(failures(&format!("1-0:99.97.0{groups}")), "[]", "{groups}");
    }
}

#[test]
fn a_dummy_entry_of_a_failure_log_is_none() {
    let line = "1-0:99.97.0(1)(0-0:96.7.19)(000101000001W)(2147483647*s)";
    assert_eq!(failures(line), "[]");
}

#[test]
fn a_failures_duration_needs_no_unit() {
    let line = "1-0:99.97.0(1)(0-0:96.7.19)(190201235231W)(0000003231)";
    assert_eq!(failures(line), r#"[["2019-02-01T22:52:31Z",3231]]"#);
}

#[test]
fn the_count_of_a_failure_log_may_be_wrong() {
    let entry = "(190201235231W)(0000003231*s)";
    let row = r#"["2019-02-01T22:52:31Z",3231]"#;
    for count in [0, 1, 3, 10, 99] {
        let line = format!("1-0:99.97.0({count})(0-0:96.7.19){entry}{entry}");
        assert_eq!(failures(&line), format!("[{row},{row}]"), "{count}");
    }
}

#[test]
fn a_failure_log_has_up_to_ten_entries_and_all_are_kept() {
    let entry = "(190201235231W)(0000003231*s)";
    let line = format!("1-0:99.97.0(10)(0-0:96.7.19){}", entry.repeat(10));
    assert_eq!(failures(&line).matches("3231").count(), 10);
}

#[test]
fn a_failure_log_is_swiss_by_another_id_and_old_by_other_separators() {
    let rows = r#"[["2019-02-01T22:52:31Z",3231]]"#;
    for line in [
        "1-1:99.97.0(1)(0-0:96.7.19)(190201235231W)(0000003231*s)",
        "1-0:99:97.0(1)(0:96.7.19)(190201235231W)(0000003231*s)",
    ] {
        assert_eq!(failures(line), rows, "{line}");
    }
}

#[test]
fn a_peak_comes_behind_its_time_or_before_it() {
    for line in [
        "1-0:1.6.0(260102010000W)(08.796*kW)",
        "1-0:1.6.0(08.796*kW)(260102010000W)",
        "1-0:1.6.0(08.796*kW)(260102010000)",
        "1-0:1.6.0(260102010000)(08.796*kW)",
    ] {
        let (reading, skipped) = read(&telegram("ISk5\\2MIE5T-200", &[line]));
        assert_eq!(skipped, [], "{line}");
        let at = reading.values().next().unwrap().at.unwrap();
        assert_eq!(at.utc, 1_767_312_000, "{line}");
        assert_eq!(named_by(BELGIAN, "P_peak", &[line]), ["8.796 kW"], "{line}");
    }
}

#[test]
fn a_peak_that_never_was_is_none() {
    for stamp in ["632525252525W", "35255255255255255S", "000101000000W", ""] {
        let line = format!("1-0:1.6.0({stamp})(00.000*kW)");
        let found = named_by(BELGIAN, "P_peak", &[&line]);
        assert!(found.is_empty(), "{line}");
    }
}

#[test]
fn a_belgian_history_is_months_with_their_peaks() {
    let month = "(230201000000W)(230117224500W)(04.329*kW)";
    let row = r#"["2023-01-31T23:00:00Z","2023-01-17T21:45:00Z",4.329]"#;
    for count in [1, 2, 13] {
        let line = format!(
            "0-0:98.1.0({count})(1-0:1.6.0)(1-0:1.6.0){}",
            month.repeat(count)
        );
        assert_eq!(peaks(&line), format!("[{}]", vec![row; count].join(",")));
    }
    assert_eq!(peaks("0-0:98.1.0(0)(1-0:1.6.0)(1-0:1.6.0)()"), "[]");
}

#[test]
fn a_month_without_peak_has_none() {
    for stamp in ["632525252525W", "35255255255255255S"] {
        let line =
            format!("0-0:98.1.0(1)(1-0:1.6.0)(1-0:1.6.0)(230301000000W)({stamp})(00.000*kW)");
        let row = r#"[["2023-02-28T23:00:00Z",null,0.000]]"#;
        assert_eq!(peaks(&line), row, "{stamp}");
    }
}

#[test]
fn the_id_98_1_is_a_history_in_belgium_a_month_end_in_hungary_and_swiss_without_values() {
    let peaks = "0-0:98.1.0(1)(1-0:1.6.0)(1-0:1.6.0)(230201000000W)(230117224500W)(04.329*kW)";
    assert_eq!(named_by(BELGIAN, "peak_history", &[peaks]).len(), 1);
    assert!(named_by(BELGIAN, "month_end", &[peaks]).is_empty());

    let registers = "0-0:98.1.0(230401000000S)(000100.500*kWh)(000050.250*kWh)(00.100*kW)";
    let found = topic(HUNGARIAN, "/mains/reading/month_end", &[registers]);
    let row = r#"[["2023-03-31T22:00:00Z",100.500,50.250,0.100]]"#;
    assert_eq!(found.as_deref(), Some(row));
    assert!(named_by(HUNGARIAN, "peak_history", &[registers]).is_empty());

    let swiss = "GRE5\\253710000_A";
    let lines = ["0-0:98.1.0(12)", "1-1:1.8.1(000001.5*kWh)"];
    assert_eq!(named_by(swiss, "delivered_high", &lines), ["1.5 kWh"]);
    let none = topic(swiss, "/mains/demand/peak_history", &lines);
    assert_eq!(none.as_deref(), Some("[]"));
    assert_eq!(topic(swiss, "/mains/reading/month_end", &lines), None);
}

#[test]
fn an_e660_has_a_second_history() {
    let line = "0-0:98.1.1(1)(1-0:1.6.0)(230201000000W)(04.329*kW)";
    let found = topic(
        "LG_E660_Fluvius_3N400V",
        "/mains/demand/peak_history_2",
        &["0-0:96.1.4(50217)", line],
    );
    assert_eq!(
        found.as_deref(),
        Some(r#"[["2023-01-31T23:00:00Z",4.329]]"#)
    );
}

#[test]
fn an_israeli_load_profile_is_kept_whole() {
    let line = "1-0:99.1.0(1)(0-0:96.10.7)(1-0:1.29.0)(1-0:2.29.0)(230117224500W)(03)(000123.456*kWh)(000000.000*kWh)";
    let found = topic(DUTCH, "/mains/report/load_profile", &[line]);
    let row = r#"[["2023-01-17T21:45:00Z",3,123.456,0.000]]"#;
    assert_eq!(found.as_deref(), Some(row));
}

#[test]
fn two_limits_stand_in_two_brackets_or_in_one() {
    let two = topic(
        BELGIAN,
        "/mains/limit/fuses",
        &["1-1:31.4.0(100*A)(-063*A)"],
    );
    assert_eq!(two.as_deref(), Some("[[100,-63]]"));
    let one = topic(
        BELGIAN,
        "/mains/limit/fuses",
        &["1-1:31.4.0(30.0*A,-65.0*A)"],
    );
    assert_eq!(one.as_deref(), Some(r#"[["30.0*A,-65.0*A"]]"#));
    assert_eq!(
        named_by(BELGIAN, "I_L1_limit", &["1-0:31.4.0(30.0*A,-65.0*A)"]),
        ["30.0 A"]
    );
}

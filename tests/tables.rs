//! The table compiler: good and bad tables with their goldens, and the project's own table.
//!
//! `UPDATE_GOLDEN=1 cargo test --test tables` rewrites the goldens and README.md's table; what
//! changed is then read as a diff.

#[path = "support/golden.rs"]
mod goldens;

#[path = "../build/metrics.rs"]
mod metrics;
#[path = "../build/problem.rs"]
mod problem;
#[path = "../build/readme.rs"]
mod readme;

use std::fs;
use std::path::{Path, PathBuf};

use metertrekker::metric::{self, Device, Influx, Kind, Metric, Unit, Variant};
use metertrekker::p1::obis::Obis;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Directories below `tests/tables` that have the file `golden`.
fn cases(golden: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/tables")).unwrap();
    let mut cases: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    cases.retain(|case| case.join(golden).exists());
    cases.sort();
    cases
}

fn updating() -> bool {
    goldens::is_updated("UPDATE_GOLDEN")
}

/// Compares with a golden file or rewrites it; the difference, if there is one.
fn differs(path: &Path, actual: &str) -> Option<String> {
    if updating() {
        fs::write(path, actual).unwrap();
        return None;
    }
    let expected = fs::read_to_string(path).unwrap();
    (expected != actual).then(|| {
        format!(
            "{}\n--- expected\n{expected}--- actual\n{actual}",
            path.display()
        )
    })
}

/// Compiles every case's table and compares what comes of it, all cases before failing.
fn check_cases(golden: &str, outcome: fn(&str) -> String) -> usize {
    let cases = cases(golden);
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let text = fs::read_to_string(case.join("metrics.toml")).unwrap();
            differs(&case.join(golden), &outcome(&text))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    cases.len()
}

fn lines(problems: &[problem::Problem]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}

#[test]
fn bad_tables_are_answered_with_every_problem() {
    let count = check_cases("expected.err", |text| {
        match metrics::compile("metrics.toml", text) {
            Ok(_) => "accepted\n".into(),
            Err(problems) => lines(&problems),
        }
    });
    assert!(count >= 18, "only {count} bad tables");
}

#[test]
fn good_tables_become_the_expected_code() {
    let count = check_cases("expected.rs", |text| {
        match metrics::compile("metrics.toml", text) {
            Ok(code) => code,
            Err(problems) => lines(&problems),
        }
    });
    assert!(count >= 4, "only {count} good tables");
}

#[test]
fn every_case_has_one_golden() {
    for entry in fs::read_dir(root().join("tests/tables")).unwrap() {
        let case = entry.unwrap().path();
        let goldens = ["expected.err", "expected.rs"].map(|g| usize::from(case.join(g).exists()));
        assert_eq!(goldens.iter().sum::<usize>(), 1, "{}", case.display());
    }
}

fn own_table() -> metrics::Table {
    let text = fs::read_to_string(root().join("metrics.toml")).unwrap();
    metrics::table("metrics.toml", &text).unwrap_or_else(|problems| panic!("{}", lines(&problems)))
}

#[test]
fn readme_shows_the_table() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let expected = readme::insert(&readme, &readme::table(&own_table()))
        .expect("README.md needs the lines `<!-- metrics:begin -->` and `<!-- metrics:end -->`");
    if updating() {
        fs::write(&path, &expected).unwrap();
    } else {
        assert!(
            readme == expected,
            "README.md's table is not that of metrics.toml: UPDATE_GOLDEN=1 cargo test --test tables"
        );
    }
}

#[test]
fn a_readme_without_markers_is_left_alone() {
    assert_eq!(readme::insert("# Title\n", "| a |\n"), None);
}

#[test]
fn a_bar_in_a_description_does_not_end_its_cell() {
    let text = "[[metric]]\nobis = \"1-0:15.7.0\"\nname = \"a\"\ntype = \"number\"\n\
                description = \"|P|\"\n";
    let table = metrics::table("metrics.toml", text).unwrap();
    assert!(readme::table(&table).ends_with("| \\|P\\| |\n"));
}

#[test]
fn generated_code_tells_nothing_of_the_machine() {
    let text = fs::read_to_string(root().join("metrics.toml")).unwrap();
    let code = metrics::compile("metrics.toml", &text).unwrap();
    assert_eq!(metrics::compile("metrics.toml", &text).unwrap(), code);
    assert!(!code.contains(root().to_str().unwrap()));
}

#[test]
fn firmware_and_compiler_know_the_same_units() {
    for prefix in metrics::PREFIXES {
        for base in metrics::BASES {
            let text = format!("{prefix}{base}");
            let unit = Unit::parse(text.as_bytes());
            if base == "m3" && !prefix.is_empty() {
                assert_eq!(unit, None, "{text}");
            } else {
                assert_eq!(unit.unwrap().as_str(), text);
            }
        }
    }
}

#[test]
fn firmware_and_compiler_know_the_same_devices() {
    let devices = (0..=255).filter_map(Device::from_mbus_type);
    let mut names: Vec<&str> = devices
        .map(Device::name)
        .filter(|n| *n != "other")
        .collect();
    names.sort();
    names.dedup();
    let mut known = metrics::DEVICES;
    known.sort();
    assert_eq!(names, known);
}

#[test]
fn the_rows_are_those_of_the_table() {
    let table = own_table();
    assert_eq!(table.rows.len(), usize::from(metric::count()));
    for row in &table.rows {
        let same = (0..metric::count()).find(|&index| {
            let metric = metric::get(index).unwrap();
            metric.obis.to_string() == row.obis_text
                && metric.name == row.name
                && metric.topic == row.topic.as_deref()
                && metric.unit.map(Unit::as_str) == row.unit_text.as_deref()
                && metric.device.map(Device::name) == row.device.as_deref()
                && metric.phase == row.phase
        });
        let index = same.unwrap_or_else(|| panic!("line {} is lost", row.line));
        assert_eq!(metric::description(index), Some(row.description.as_str()));
    }
}

fn obis(text: &str) -> Obis {
    let groups: Vec<u8> = text
        .split(['-', ':', '.'])
        .map(|group| group.parse().unwrap())
        .collect();
    let [a, b, c, d, e] = groups[..] else {
        panic!("{text}");
    };
    Obis::new(a, b, c, d, e).unwrap()
}

fn row(
    id: &str,
    variant: Option<Variant>,
    device: Option<Device>,
    unit: &str,
) -> Option<&'static Metric> {
    let first = metric::find(obis(id))?;
    let unit = Unit::parse(unit.as_bytes());
    metric::get(metric::select(first, variant, device, unit)?)
}

/// id, name, topic, influx and phase.
type Kept = (
    &'static str,
    &'static str,
    Option<&'static str>,
    Influx,
    Option<u8>,
);

/// The rows of Metertrekker2MQTT with both its phase sets.
///
/// Dashboards and databases hang on them, so they never change.
#[rustfmt::skip]
const FIRST_FIRMWARE: [Kept; 34] = [
    ("0-0:1.0.0", "timestamp", None, Influx::Field, None),
    ("0-0:96.1.1", "meter_sn", None, Influx::Tag, None),
    ("1-0:1.8.1", "delivered_low", Some("/energy/mains/reading/delivered/low"), Influx::Field, None),
    ("1-0:1.8.2", "delivered_high", Some("/energy/mains/reading/delivered/high"), Influx::Field, None),
    ("1-0:2.8.1", "redelivered_low", Some("/energy/mains/reading/redelivered/low"), Influx::Field, None),
    ("1-0:2.8.2", "redelivered_high", Some("/energy/mains/reading/redelivered/high"), Influx::Field, None),
    ("0-0:96.14.0", "tariff", Some("/energy/mains/reading/tariff"), Influx::Field, None),
    ("1-0:1.7.0", "P_total", Some("/energy/mains/power/total"), Influx::Field, None),
    ("1-0:2.7.0", "P_total_redelivery", Some("/energy/mains/power/total_redelivery"), Influx::Field, None),
    ("1-0:21.7.0", "P_L1", Some("/energy/mains/power/L1"), Influx::Field, Some(1)),
    ("1-0:22.7.0", "P_L1_redelivery", Some("/energy/mains/power/L1_redelivery"), Influx::Field, Some(1)),
    ("1-0:32.7.0", "V_L1", Some("/energy/mains/voltage/L1"), Influx::Field, Some(1)),
    ("1-0:31.7.0", "I_L1", Some("/energy/mains/current/L1"), Influx::Field, Some(1)),
    ("1-0:41.7.0", "P_L2", Some("/energy/mains/power/L2"), Influx::Field, Some(2)),
    ("1-0:42.7.0", "P_L2_redelivery", Some("/energy/mains/power/L2_redelivery"), Influx::Field, Some(2)),
    ("1-0:52.7.0", "V_L2", Some("/energy/mains/voltage/L2"), Influx::Field, Some(2)),
    ("1-0:51.7.0", "I_L2", Some("/energy/mains/current/L2"), Influx::Field, Some(2)),
    ("1-0:61.7.0", "P_L3", Some("/energy/mains/power/L3"), Influx::Field, Some(3)),
    ("1-0:62.7.0", "P_L3_redelivery", Some("/energy/mains/power/L3_redelivery"), Influx::Field, Some(3)),
    ("1-0:72.7.0", "V_L3", Some("/energy/mains/voltage/L3"), Influx::Field, Some(3)),
    ("1-0:71.7.0", "I_L3", Some("/energy/mains/current/L3"), Influx::Field, Some(3)),
    ("0-1:96.1.0", "gas_meter_sn", None, Influx::Tag, None),
    ("0-1:24.2.1", "gas_reading", Some("/energy/gas/reading"), Influx::Field, None),
    ("0-0:96.7.21", "failures", Some("/energy/mains/report/powerfailures"), Influx::Field, None),
    ("0-0:96.7.9", "long_failures", Some("/energy/mains/report/powerfailures_long"), Influx::Field, None),
    ("1-0:99.97.0", "failure_log", Some("/energy/mains/report/powerfailure_details"), Influx::None, None),
    ("1-0:32.32.0", "L1_sags", Some("/energy/mains/report/voltage_sags/L1"), Influx::Field, Some(1)),
    ("1-0:32.36.0", "L1_swells", Some("/energy/mains/report/voltage_swells/L1"), Influx::Field, Some(1)),
    ("1-0:52.32.0", "L2_sags", Some("/energy/mains/report/voltage_sags/L2"), Influx::Field, Some(2)),
    ("1-0:52.36.0", "L2_swells", Some("/energy/mains/report/voltage_swells/L2"), Influx::Field, Some(2)),
    ("1-0:72.32.0", "L3_sags", Some("/energy/mains/report/voltage_sags/L3"), Influx::Field, Some(3)),
    ("1-0:72.36.0", "L3_swells", Some("/energy/mains/report/voltage_swells/L3"), Influx::Field, Some(3)),
    ("0-0:96.13.0", "message", Some("/energy/mains/message"), Influx::Field, None),
    ("0-0:96.13.1", "message", Some("/energy/mains/message"), Influx::Field, None),
];

#[test]
fn every_row_of_the_first_firmware_is_kept() {
    let gas = Some(Device::Gas);
    for (id, name, topic, influx, phase) in FIRST_FIRMWARE {
        let metric = row(id, None, gas, "").unwrap_or_else(|| panic!("{id}"));
        assert_eq!(
            (metric.name, metric.topic, metric.influx, metric.phase),
            (name, topic, influx, phase),
            "{id}"
        );
    }
    for (id, kind) in [("1-3:0.2.8", Kind::Version), ("0-1:24.1.0", Kind::Device)] {
        let metric = row(id, None, None, "").unwrap();
        assert_eq!((metric.kind, metric.topic), (kind, None), "{id}");
    }
}

/// The ids of each standard that meters are known to send.
#[rustfmt::skip]
const STANDARDS: [(&str, &[&str]); 9] = [
    ("Netherlands", &[
        "1-3:0.2.8", "0-0:1.0.0", "0-0:96.1.1", "1-0:1.8.1", "1-0:1.8.2", "1-0:2.8.1", "1-0:2.8.2",
        "0-0:96.14.0", "1-0:1.7.0", "1-0:2.7.0", "0-0:17.0.0", "0-0:96.3.10", "0-0:96.7.21",
        "0-0:96.7.9", "1-0:99.97.0", "1-0:32.32.0", "1-0:52.32.0", "1-0:72.32.0", "1-0:32.36.0",
        "1-0:52.36.0", "1-0:72.36.0", "0-0:96.13.0", "0-0:96.13.1", "1-0:32.7.0", "1-0:52.7.0",
        "1-0:72.7.0", "1-0:31.7.0", "1-0:51.7.0", "1-0:71.7.0", "1-0:21.7.0", "1-0:41.7.0",
        "1-0:61.7.0", "1-0:22.7.0", "1-0:42.7.0", "1-0:62.7.0", "0-1:24.1.0", "0-4:24.1.0",
        "0-1:96.1.0", "0-2:24.2.1", "0-1:24.3.0", "0-2:24.3.0", "0-1:24.3.1", "0-1:24.4.0",
        "0-0:1.1.0",
    ]),
    ("Belgium", &[
        "0-0:96.1.4", "0-0:96.1.1", "0-0:96.1.2", "0-1:96.1.1", "0-2:96.1.2", "1-0:1.4.0",
        "1-0:1.6.0", "0-0:98.1.0", "0-0:98.1.1", "1-0:31.4.0", "1-1:31.4.0", "0-0:17.0.0",
        "0-1:96.3.10", "0-4:96.3.10", "0-1:24.2.3", "1-0:94.32.1", "1-0:1.8.3", "1-0:1.8.4",
        "1-0:1.8.5", "1-0:2.8.3", "1-0:2.8.4", "1-0:2.8.5",
    ]),
    ("Luxembourg", &[
        "0-0:42.0.0", "1-0:1.8.0", "1-0:2.8.0", "1-0:3.8.0", "1-0:4.8.0", "1-0:3.7.0", "1-0:4.7.0",
        "1-0:9.7.0", "1-0:10.7.0", "0-0:96.13.2", "0-0:96.13.3", "0-0:96.13.4", "0-0:96.13.5",
        "0-2:96.3.10",
    ]),
    ("Sweden and Finland", &[
        "1-0:23.7.0", "1-0:24.7.0", "1-0:43.7.0", "1-0:44.7.0", "1-0:63.7.0", "1-0:64.7.0",
        "1-0:0.4.2", "1-0:0.4.3",
    ]),
    ("Lithuania", &[
        "1-0:3.8.1", "1-0:3.8.2", "1-0:3.8.3", "1-0:3.8.4", "1-0:4.8.1", "1-0:4.8.2", "1-0:4.8.3",
        "1-0:4.8.4", "1-0:32.24.0", "1-0:52.24.0", "1-0:72.24.0", "1-0:12.7.0", "1-0:11.7.0",
        "1-0:90.7.0", "1-0:91.7.0", "1-0:14.7.0", "1-0:15.7.0", "1-0:29.7.0", "1-0:49.7.0",
        "1-0:69.7.0", "1-0:30.7.0", "1-0:50.7.0", "1-0:70.7.0", "1-0:1.24.0", "1-0:15.24.0",
        "1-0:16.24.0", "1-0:13.7.0", "1-0:33.7.0", "1-0:53.7.0", "1-0:73.7.0", "1-0:13.3.0",
        "1-0:0.8.2", "1-0:2.4.0", "1-0:3.4.0", "1-0:4.4.0", "1-0:9.4.0", "1-0:10.4.0", "1-0:1.5.0",
        "1-0:2.5.0", "1-0:3.5.0", "1-0:4.5.0", "1-0:9.5.0", "1-0:10.5.0", "1-0:32.33.0",
        "1-0:32.34.0", "1-0:32.37.0", "1-0:32.38.0", "1-0:52.33.0", "1-0:52.34.0", "1-0:52.37.0",
        "1-0:52.38.0", "1-0:72.33.0", "1-0:72.34.0", "1-0:72.37.0", "1-0:72.38.0", "1-0:0.2.0",
        "1-0:0.2.8", "1-1:0.2.0", "1-1:0.2.8",
    ]),
    ("Hungary", &[
        "0-0:42.0.0", "0-0:96.1.0", "0-0:96.50.68", "1-0:5.8.0", "1-0:6.8.0", "1-0:7.8.0",
        "1-0:8.8.0", "1-0:5.7.0", "1-0:6.7.0", "1-0:7.7.0", "1-0:8.7.0", "1-0:15.8.0", "1-0:51.4.0",
        "1-0:71.4.0", "0-0:98.1.0",
    ]),
    ("Switzerland", &[
        "1-1:1.8.1", "1-1:1.8.2", "1-1:2.8.1", "1-1:2.8.2", "1-1:1.7.0", "1-1:2.7.0", "1-1:1.6.0",
        "0-0:0.0.0", "1-1:99.97.0",
    ]),
    ("Israel", &[
        "1-0:1.8.11", "1-0:1.8.12", "1-0:1.8.13", "1-0:2.8.11", "1-0:2.8.12", "1-0:2.8.13",
        "0-0:96.14.1", "1-0:99.1.0",
    ]),
    ("before DSMR", &[
        "7-0:23.1.0", "7-0:24.4.0", "1-0:0.0.0", "0-0:96.1.255", "1-0:96.5.5",
    ]),
];

#[test]
fn every_id_of_the_standards_has_a_row() {
    let missing: Vec<String> = STANDARDS
        .iter()
        .flat_map(|(standard, ids)| ids.iter().map(move |id| (standard, id)))
        .filter(|(_, id)| metric::find(obis(id)).is_none())
        .map(|(standard, id)| format!("{standard}: {id}"))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

fn belgium() -> Option<Variant> {
    Variant::from_marker(obis("0-0:96.1.4"))
}

#[test]
fn belgian_tariffs_are_the_reverse_of_the_dutch_ones() {
    assert_eq!(belgium().unwrap().name(), "be");
    for (id, dutch, belgian) in [
        ("1-0:1.8.1", "delivered_low", "delivered_high"),
        ("1-0:1.8.2", "delivered_high", "delivered_low"),
        ("1-0:2.8.1", "redelivered_low", "redelivered_high"),
        ("1-0:2.8.2", "redelivered_high", "redelivered_low"),
    ] {
        let name = |variant| row(id, variant, None, "kWh").unwrap().name;
        assert_eq!(name(None), dutch, "{id}");
        assert_eq!(name(belgium()), belgian, "{id}");
        assert_eq!(name(Variant::from_header(b"/ESO5")), dutch, "{id}");
    }
}

#[test]
fn headers_tell_the_variants() {
    for (header, name) in [
        (r"/FLU5\000000001_A", "be"),
        (r"/SIB5\000000002_A", "be"),
        (r"/Lux5\000000003_A", "lu"),
        (r"/EST5\000000004_A", "at"),
        (r"/ELS5\000000005_A", "at"),
        (r"/AUX5000000006", "hu"),
        (r"/HLY5/METER", "hu"),
        (r"/ESO5\000000007_A", "lt"),
        (r"GRE5\\000000008_A", "ch"),
    ] {
        let variant = Variant::from_header(header.as_bytes());
        assert_eq!(variant.map(Variant::name), Some(name), "{header}");
    }
    for header in [r"/ISk5\2METER", "/LGF5E360", "/", "", "/XFLU5"] {
        assert_eq!(Variant::from_header(header.as_bytes()), None, "{header}");
    }
}

#[test]
fn a_month_end_is_hungarian_and_a_peak_history_belgian() {
    let name = |variant| row("0-0:98.1.0", variant, None, "").map(|metric| metric.name);
    assert_eq!(name(Variant::from_header(b"/AUX5")), Some("month_end"));
    assert_eq!(name(belgium()), Some("peak_history"));
    assert_eq!(name(Variant::from_header(b"/GRE5")), None);
    assert_eq!(name(None), None);
}

#[test]
fn the_unit_tells_what_a_threshold_limits() {
    let name = |unit| row("0-0:17.0.0", None, None, unit).map(|metric| metric.name);
    assert_eq!(name("A"), Some("I_limit"));
    assert_eq!(name("kW"), Some("P_limit"));
    assert_eq!(name("W"), Some("P_limit"));
    assert_eq!(name("kVA"), Some("S_limit"));
    assert_eq!(name(""), Some("P_limit"));
    assert_eq!(name("m3"), None);
}

#[test]
fn the_device_tells_what_a_channel_reads() {
    let name = |device, unit| row("0-3:24.2.1", None, device, unit).map(|metric| metric.name);
    assert_eq!(name(Some(Device::Gas), "m3"), Some("gas_reading"));
    assert_eq!(name(Some(Device::Water), "m3"), Some("water_reading"));
    assert_eq!(
        name(Some(Device::WarmWater), "m3"),
        Some("warm_water_reading")
    );
    assert_eq!(name(Some(Device::Heat), "MJ"), Some("heat_reading"));
    assert_eq!(name(Some(Device::Heat), "kWh"), Some("heat_reading_kWh"));
    assert_eq!(name(Some(Device::Heat), "m3"), Some("heat_volume"));
    assert_eq!(name(Some(Device::Cold), "GJ"), Some("cold_reading"));
    assert_eq!(
        name(Some(Device::Electricity), "kWh"),
        Some("submeter_reading")
    );
    assert_eq!(name(Some(Device::Other), "m3"), None);
    // A channel that does not tell its kind: the unit is all there is.
    assert_eq!(name(None, "m3"), Some("gas_reading"));
    assert_eq!(name(None, "GJ"), Some("heat_reading"));
    assert_eq!(name(None, "kWh"), Some("submeter_reading"));
    assert_eq!(name(None, ""), Some("gas_reading"));
}

#[test]
fn a_relay_has_its_own_row_before_any_channel() {
    let name = |id| row(id, None, None, "").map(|metric| metric.name);
    assert_eq!(name("0-0:96.3.10"), Some("breaker"));
    assert_eq!(name("0-2:96.3.10"), Some("relay_2"));
    assert_eq!(name("0-5:96.3.10"), None);
}

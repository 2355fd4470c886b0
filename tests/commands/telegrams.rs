//! Readings for the commands to answer from.

use metertrekker::reading::Reading;

/// The lines of a three-phase meter, `gained` Wh after it was installed.
pub fn three_phases(gained: u32) -> Vec<String> {
    let kwh = |wh: u32| format!("{:06}.{:03}", wh / 1000, wh % 1000);
    let (low, high) = (kwh(5_000 + gained / 2), kwh(9_000 + gained.div_ceil(2)));
    let lines = [
        "1-3:0.2.8(50)",
        "0-0:1.0.0(210302112740W)",
        "0-0:96.1.1(3132333435)",
        &format!("1-0:1.8.1({low}*kWh)"),
        &format!("1-0:1.8.2({high}*kWh)"),
        "1-0:2.8.1(000000.000*kWh)",
        "1-0:1.7.0(01.100*kW)",
        "1-0:2.7.0(00.000*kW)",
        "1-0:32.7.0(230.1*V)",
        "1-0:52.7.0(231.2*V)",
        "1-0:72.7.0(229.3*V)",
        "1-0:31.7.0(002.50*A)",
        "1-0:51.7.0(003.00*A)",
        "1-0:71.7.0(000.00*A)",
        "1-0:21.7.0(00.500*kW)",
        "1-0:41.7.0(00.600*kW)",
        "1-0:61.7.0(00.000*kW)",
        "1-0:22.7.0(00.000*kW)",
        "1-0:42.7.0(00.000*kW)",
        "1-0:62.7.0(00.000*kW)",
        "1-0:23.7.0(00.100*kvar)",
        "1-0:43.7.0(00.000*kvar)",
        "1-0:63.7.0(00.000*kvar)",
        "1-0:24.7.0(00.000*kvar)",
        "1-0:44.7.0(00.050*kvar)",
        "1-0:64.7.0(00.000*kvar)",
        "1-0:14.7.0(49.98*Hz)",
    ];
    lines.map(String::from).into()
}

/// The lines of a DSMR 2.2 meter: energy and power in all, no clock.
pub fn old() -> Vec<String> {
    let lines = [
        "0-0:96.1.1(3132333435)",
        "1-0:1.8.1(00005.000*kWh)",
        "1-0:1.8.2(00009.000*kWh)",
        "1-0:1.7.0(0001.10*kW)",
        "1-0:2.7.0(0000.00*kW)",
    ];
    lines.map(String::from).into()
}

/// The lines of a meter of one phase.
pub fn one_phase() -> Vec<String> {
    let kept = |line: &String| {
        let id = line.split_once(':').map_or("", |(_, rest)| rest);
        let phase = |c: &str| id.starts_with(&format!("{c}.7.0"));
        ![
            "52", "72", "51", "71", "41", "61", "42", "62", "43", "63", "44", "64",
        ]
        .iter()
        .any(|c| phase(c))
    };
    three_phases(0).into_iter().filter(kept).collect()
}

/// The reading of such lines.
pub fn reading(lines: &[String]) -> Box<Reading> {
    let mut reading = Box::new(Reading::new());
    reading.begin(b"TST5\\TEST METER");
    for line in lines {
        reading.line(line.as_bytes()).unwrap();
    }
    reading.settle();
    reading
}

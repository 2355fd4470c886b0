//! Numbers, units, texts, clocks, and what countries mean by an id.

use metertrekker::p1::timestamp::{Letter, Stamp, tst};
use metertrekker::reading::Skip;

use super::{
    BELGIAN, DUTCH, HUNGARIAN, named, named_by,
    support::telegram::{newest, read, telegram},
};

/// Each line's value under a name, in turn.
fn are(name: &str, rows: &[(&str, &str)]) {
    for (line, value) in rows {
        assert_eq!(named(name, &[line]), [*value], "{line}");
    }
}

#[test]
fn a_unit_needs_no_asterisk() {
    are(
        "delivered_low",
        &[("1-0:1.8.1(000123.456kWh)", "123.456 kWh")],
    );
    are("P_total", &[("1-0:1.7.0(00.400kW)", "0.400 kW")]);
}

#[test]
fn a_unit_may_have_blanks_around_it() {
    for line in [
        "1-0:1.8.1(000123.45*kWh )",
        "1-0:1.8.1(000123.45* kWh)",
        "1-0:1.8.1(000123.45*kWh)  ",
        "1-0:1.8.1( 000123.45*kWh)",
    ] {
        let found = named("delivered_low", &[line]);
        assert_eq!(found, ["123.45 kWh"], "{line}");
    }
}

#[test]
fn a_unit_may_be_in_any_case() {
    for unit in ["kvarh", "kVArh", "kVarh", "kVARh", "KVARH"] {
        let line = format!("1-0:3.8.0(00000123.456*{unit})");
        let found = named("reactive_delivered_total", &[&line]);
        assert_eq!(found, ["123.456 kvarh"], "{unit}");
    }
    are("Q_total", &[("1-0:3.7.0(0000.028*kVAr)", "0.028 kvar")]);
    are("S_total", &[("1-0:9.7.0(00.321*kva)", "0.321 kVA")]);
    are("delivered_low", &[("1-0:1.8.1(000001.5*KWH)", "1.5 kWh")]);
}

#[test]
fn lithuanian_meters_count_in_kv_ka_and_khz() {
    are("V_L1", &[("1-0:32.7.0(0000.236*kV)", "236 V")]);
    are("V_any", &[("1-0:12.7.0(0000.236*kV)", "236 V")]);
    are("I_any", &[("1-0:11.7.0(0000.004*kA)", "4 A")]);
    are("I_sum", &[("1-0:90.7.0(0000.012*kA)", "12 A")]);
    are("I_N", &[("1-0:91.7.0(0000.001*kA)", "1 A")]);
    are("frequency", &[("1-0:14.7.0(0000.050*kHz)", "50 Hz")]);
}

#[test]
fn lithuanian_averages_and_power_factors_have_signs_and_no_unit() {
    are(
        "P_average_net",
        &[("1-0:16.24.0(-0000.350*kW)", "-0.350 kW")],
    );
    are(
        "P_average_net",
        &[("1-0:16.24.0(+0000.350*kW)", "0.350 kW")],
    );
    are(
        "PF_total",
        &[
            ("1-0:13.7.0(-0.997)", "-0.997"),
            ("1-0:13.7.0(1.000)", "1.000"),
        ],
    );
    are("PF_L3", &[("1-0:73.7.0(-0.500)", "-0.500")]);
    are("PF_min", &[("1-0:13.3.0(0.000)", "0.000")]);
    are("demand_period", &[("1-0:0.8.2(00900*s)", "900 s")]);
}

#[test]
fn lithuanian_meters_have_four_tariffs_demands_and_sags_by_duration_and_voltage() {
    are("delivered_T4", &[("1-0:1.8.4(000004.5*kWh)", "4.5 kWh")]);
    are(
        "reactive_redelivered_T4",
        &[("1-0:4.8.4(000004.5*kvarh)", "4.5 kvarh")],
    );
    are(
        "S_demand_redelivery",
        &[("1-0:10.4.0(00.500*kVA)", "0.500 kVA")],
    );
    are("P_demand_last", &[("1-0:1.5.0(00.500*kW)", "0.500 kW")]);
    are("L1_sag_duration", &[("1-0:32.33.0(00012*s)", "12 s")]);
    are("L2_swell_voltage", &[("1-0:52.38.0(0000.255*kV)", "255 V")]);
    are("V_L3_average", &[("1-0:72.24.0(0000.231*kV)", "231 V")]);
    are(
        "S_L3_redelivery",
        &[("1-0:70.7.0(00.100*kVA)", "0.100 kVA")],
    );
}

#[test]
fn austrian_meters_and_those_on_transformers_count_in_whole_watts() {
    are(
        "delivered_total",
        &[("1-0:1.8.0(000123456*Wh)", "123.456 kWh")],
    );
    are("P_total", &[("1-0:1.7.0(00400*W)", "0.400 kW")]);
    are(
        "reactive_delivered_total",
        &[("1-0:3.8.0(000000028*varh)", "0.028 kvarh")],
    );
    are("Q_total", &[("1-0:3.7.0(00028*var)", "0.028 kvar")]);
    are(
        "delivered_total",
        &[("1-0:1.8.0(00012345.6*Wh)", "12.3456 kWh")],
    );
    are("CT_ratio", &[("1-0:0.4.2(00200)", "200")]);
    are("VT_ratio", &[("1-0:0.4.3(00001)", "1")]);
}

#[test]
fn a_current_has_any_number_of_decimals_or_is_in_ma() {
    are(
        "I_L1",
        &[
            ("1-0:31.7.0(002*A)", "2 A"),
            ("1-0:31.7.0(002.1*A)", "2.1 A"),
            ("1-0:31.7.0(002.14*A)", "2.14 A"),
            ("1-0:31.7.0(002.142*A)", "2.142 A"),
            ("1-0:31.7.0(02142*mA)", "2.142 A"),
        ],
    );
}

#[test]
fn energy_and_power_have_any_number_of_decimals() {
    are(
        "delivered_low",
        &[
            ("1-0:1.8.1(00123*kWh)", "123 kWh"),
            ("1-0:1.8.1(000123.45*kWh)", "123.45 kWh"),
            ("1-0:1.8.1(00123456.789*kWh)", "123456.789 kWh"),
            ("1-0:1.8.1*255(001234.12345678*kWh)", "1234.12345678 kWh"),
        ],
    );
    are(
        "P_total",
        &[
            ("1-0:1.7.0(0001.01*kW)", "1.01 kW"),
            ("1-0:1.7.0(0001.234*kW)", "1.234 kW"),
            ("1-0:1.7.0(01.2345*kW)", "1.2345 kW"),
        ],
    );
}

#[test]
fn what_0_0_17_limits_is_told_by_its_unit() {
    are(
        "P_limit",
        &[
            ("0-0:17.0.0(999.9*kW)", "999.9 kW"),
            ("0-0:17.0.0(99.999*kW)", "99.999 kW"),
            ("0-0:17.0.0(24000*W)", "24.000 kW"),
        ],
    );
    are("I_limit", &[("0-0:17.0.0(016*A)", "16 A")]);
    are("S_limit", &[("0-0:17.0.0(027.600*kVA)", "27.600 kVA")]);
}

#[test]
fn a_breaker_is_a_digit_or_a_word() {
    for (line, state) in [
        ("0-0:96.3.10(0)", "0"),
        ("0-0:96.3.10(1)", "1"),
        ("0-0:96.3.10(2)", "2"),
        ("0-0:96.3.10(ON)", "ON"),
        ("0-0:96.50.68(OFF)", "OFF"),
    ] {
        assert_eq!(named_by(HUNGARIAN, "breaker", &[line]), [state], "{line}");
    }
}

#[test]
fn a_tariff_is_a_number_or_ends_with_one() {
    are(
        "tariff",
        &[
            ("0-0:96.14.0(0001)", "1"),
            ("0-0:96.14.0(0002)", "2"),
            ("0-0:96.14.0(TARIFF 1)", "1"),
            ("0-0:96.14.0(5431)", "5431"),
            ("0-0:96.14.1(03)", "3"),
        ],
    );
}

#[test]
fn tariff_1_is_the_day_in_belgium_and_the_night_in_the_netherlands() {
    let lines = ["1-0:1.8.1(000001.5*kWh)", "1-0:2.8.2(000002.5*kWh)"];
    assert_eq!(named("delivered_low", &lines), ["1.5 kWh"]);
    assert_eq!(named("redelivered_high", &lines), ["2.5 kWh"]);
    assert_eq!(named_by(BELGIAN, "delivered_high", &lines), ["1.5 kWh"]);
    assert_eq!(named_by(BELGIAN, "redelivered_low", &lines), ["2.5 kWh"]);
    // Wallonia's header is met elsewhere too, the Belgian version is not.
    let lines = ["0-0:96.1.4(3231313130)", lines[0]];
    assert_eq!(
        named_by("ISk5\\2MIE5T-200", "delivered_high", &lines),
        ["1.5 kWh"]
    );
}

#[test]
fn a_counter_with_leading_zeros_is_not_octal() {
    are(
        "failures",
        &[("0-0:96.7.21(00010)", "10"), ("0-0:96.7.21(00008)", "8")],
    );
    are("long_failures", &[("0-0:96.7.9(00019)", "19")]);
    are("L1_sags", &[("1-0:32.32.0(00012)", "12")]);
    are("L3_swells", &[("1-0:72.36.0(00009)", "9")]);
}

#[test]
fn a_phase_without_voltage_has_0_v() {
    are(
        "V_L2",
        &[
            ("1-0:52.7.0(000.0*V)", "0.0 V"),
            ("1-0:52.7.0(000*V)", "0 V"),
        ],
    );
}

#[test]
fn an_empty_value_is_none_and_not_zero() {
    for line in [
        "1-0:1.8.1()",
        "1-0:1.8.1(*kWh)",
        "1-0:1.8.1( )",
        "1-0:32.7.0(*V)",
        "0-0:96.14.0()",
    ] {
        let (reading, skipped) = read(&telegram(DUTCH, &[line]));
        assert!(reading.is_empty(), "{line}");
        assert_eq!(skipped, [(line.to_owned(), Skip::NoValue)]);
    }
}

#[test]
fn a_message_has_up_to_1024_characters_and_need_not_be_hex() {
    for length in [1, 7, 512, 1024] {
        let text = "Zomertijd! ".repeat(100)[..length].to_owned();
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("0-0:96.13.0({hex})");
        assert_eq!(named("message", &[&line]), [text]);
    }
    for text in ["STROOMSTORING 12/3", "414", "4Z", "0", ""] {
        let line = format!("0-0:96.13.0({text})");
        assert_eq!(named("message", &[&line]), [text]);
    }
}

#[test]
fn a_message_that_is_longer_than_any_standard_has_it_costs_itself_alone() {
    let line = format!("0-0:96.13.0({})", "41".repeat(1030));
    let lines = [&line[..], "1-0:1.8.1(000001.5*kWh)"];
    assert_eq!(named("delivered_low", &lines), ["1.5 kWh"]);
    let text = "x".repeat(1600);
    let line = format!("0-0:96.13.0({text})");
    let (reading, skipped) = read(&telegram(DUTCH, &[&line[..], lines[1]]));
    assert_eq!(newest(&reading, "delivered_low"), ["1.5 kWh"]);
    assert_eq!(skipped, [(line, Skip::NoRoom)]);
}

#[test]
fn luxembourg_has_a_text_for_each_channel() {
    for n in 2..=5 {
        let line = format!("0-0:96.13.{n}(4869)");
        assert_eq!(named_by("Lux5", &format!("message_{n}"), &[&line]), ["Hi"]);
    }
}

#[test]
fn a_serial_number_is_hex_or_plain_or_masked() {
    for (id, sent, serial) in [
        (
            "0-0:96.1.1",
            "4B384547303034303436333935353037",
            "K8EG004046395507",
        ),
        ("0-0:96.1.1", "29973286", "29973286"),
        ("0-0:96.1.1", "xxxxxxxx", "xxxxxxxx"),
        ("0-0:96.1.1", "4B384", "4B384"),
        ("0-0:96.1.0", "00012345", "00012345"),
        ("0-0:96.1.255", "ABC", "ABC"),
    ] {
        let line = format!("{id}({sent})");
        assert_eq!(named("meter_sn", &[&line]), [serial], "{line}");
    }
}

#[test]
fn the_id_42_is_a_serial_number_in_luxembourg_and_a_name_in_hungary() {
    let hex = "0-0:42.0.0(53414731303330373030303030303030)";
    assert_eq!(
        named_by("Lux5\\253663629_D", "meter_sn", &[hex]),
        ["SAG1030700000000"]
    );
    let lines = ["0-0:42.0.0(AUX1030307164858)", "0-0:96.1.0(164858)"];
    assert_eq!(
        named_by(HUNGARIAN, "device_name", &lines),
        ["AUX1030307164858"]
    );
    assert_eq!(named_by(HUNGARIAN, "meter_sn", &lines), ["164858"]);
}

#[test]
fn a_clock_that_lost_its_time_is_none() {
    for clock in [
        "000101000000W",
        "000101010203S",
        "700101010000W",
        "632525252525W",
        "",
    ] {
        let line = format!("0-0:1.0.0({clock})");
        let lines = [&line[..], "1-0:1.8.1(000001.5*kWh)"];
        let (reading, skipped) = read(&telegram(DUTCH, &lines));
        assert_eq!(reading.clock(), None, "{clock}");
        assert_eq!(skipped, [(line.clone(), Skip::NoValue)]);
        assert_eq!(newest(&reading, "delivered_low"), ["1.5 kWh"]);
    }
}

#[test]
fn a_clock_in_dlms_hex_costs_itself_alone() {
    let lines = [
        "0-0:1.0.0(07EA080B0208151900007880)",
        "1-0:1.8.1(000001.50*kWh)",
    ];
    let (reading, skipped) = read(&telegram("MCS5\\@V0050000000", &lines));
    assert_eq!(reading.clock(), None);
    assert_eq!(skipped, [(lines[0].to_owned(), Skip::Timestamp)]);
    assert_eq!(newest(&reading, "delivered_low"), ["1.50 kWh"]);
    assert!(reading.is_dated(), "such a meter prints a check");
}

#[test]
fn a_clock_has_one_of_three_ids() {
    for id in ["0-0:1.0.0", "0-0:1.1.0", "0-0:0.0.0"] {
        let line = format!("{id}(260115183107W)");
        let (reading, _) = read(&telegram(DUTCH, &[&line]));
        assert_eq!(reading.clock().unwrap().utc, 1_768_498_267, "{id}");
    }
}

#[test]
fn swedish_clocks_are_winter_time_all_year_and_finnish_ones_are_not() {
    let noon = |clock: &str| {
        let line = format!("0-0:1.0.0({clock})");
        read(&telegram("ADN9 6534", &[&line]))
            .0
            .clock()
            .unwrap()
            .utc
    };
    assert_eq!(noon("260715120000W"), noon("260715130000S"));
    let Some(Stamp::At(_, letter)) = tst(b"260715120000W") else {
        panic!("no stamp");
    };
    assert_eq!(letter, Letter::Winter);
}

#[test]
fn the_hour_that_comes_twice_is_told_apart_by_s_and_w() {
    let stamps = [
        "251026015959S",
        "251026020000S",
        "251026025959S",
        "251026020000W",
        "251026030000W",
    ];
    let times: Vec<u32> = stamps
        .iter()
        .map(|stamp| {
            let line = format!("0-0:1.0.0({stamp})");
            read(&telegram(DUTCH, &[&line])).0.clock().unwrap().utc
        })
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[test]
fn a_stamp_without_letter_is_local_time() {
    let gas = |stamp: &str| {
        let line = format!("0-1:24.2.1({stamp})(00001.000*m3)");
        let (reading, _) = read(&telegram(DUTCH, &[&line]));
        let at = reading.values().next().unwrap().at;
        at.unwrap().utc
    };
    assert_eq!(gas("260115180000"), gas("260115180000W"));
    assert_eq!(gas("260715180000"), gas("260715180000S"));
}

#[test]
fn dsmr_3_has_power_with_two_decimals_and_a_threshold_in_amperes() {
    are("P_total", &[("1-0:1.7.0(0000.98*kW)", "0.98 kW")]);
    are(
        "delivered_low",
        &[("1-0:1.8.1(00608.400*kWh)", "608.400 kWh")],
    );
    are("I_limit", &[("0-0:17.0.0(999*A)", "999 A")]);
}

#[test]
fn luxembourg_and_the_north_have_totals_without_tariff() {
    for (line, name, value) in [
        (
            "1-0:1.8.0(00000123.456*kWh)",
            "delivered_total",
            "123.456 kWh",
        ),
        (
            "1-0:2.8.0(00000003.456*kWh)",
            "redelivered_total",
            "3.456 kWh",
        ),
        (
            "1-0:4.8.0(00000002.500*kVArh)",
            "reactive_redelivered_total",
            "2.500 kvarh",
        ),
        ("1-0:23.7.0(0000.028*kVAr)", "Q_L1", "0.028 kvar"),
        ("1-0:64.7.0(0000.028*kVAr)", "Q_L3_redelivery", "0.028 kvar"),
        ("1-0:10.7.0(00.028*kVA)", "S_total_redelivery", "0.028 kVA"),
        ("1-0:42.7.0(0000.028*kW)", "P_L2_redelivery", "0.028 kW"),
    ] {
        assert_eq!(named_by("ADN9 6534", name, &[line]), [value], "{line}");
    }
}

#[test]
fn swiss_registers_are_those_of_1_1() {
    for (line, name, value) in [
        ("1-1:1.8.1(000001.5*kWh)", "delivered_high", "1.5 kWh"),
        ("1-1:1.8.2(000001.5*kWh)", "delivered_low", "1.5 kWh"),
        ("1-1:2.8.1(000001.5*kWh)", "redelivered_high", "1.5 kWh"),
        ("1-1:1.7.0(00.400*kW)", "P_total", "0.400 kW"),
        ("1-1:2.7.0(00.400*kW)", "P_total_redelivery", "0.400 kW"),
        ("1-1:1.6.0(260115181500W)(02.000*kW)", "P_peak", "2.000 kW"),
    ] {
        assert_eq!(
            named_by("GRE5\\253710000_A", name, &[line]),
            [value],
            "{line}"
        );
    }
}

#[test]
fn israeli_tariffs_are_11_to_13() {
    for tariff in 11..=13 {
        let line = format!("1-0:1.8.{tariff}(000001.5*kWh)");
        assert_eq!(
            named(&format!("delivered_T{tariff}"), &[&line]),
            ["1.5 kWh"]
        );
        let line = format!("1-0:2.8.{tariff}(000001.5*kWh)");
        assert_eq!(
            named(&format!("redelivered_T{tariff}"), &[&line]),
            ["1.5 kWh"]
        );
    }
}

#[test]
fn walloon_meters_have_five_tariffs() {
    for tariff in 3..=5 {
        let line = format!("1-0:1.8.{tariff}(000001.5*kWh)");
        let found = named_by(
            "ISk5\\2MIE5T-200",
            &format!("delivered_T{tariff}"),
            &[&line],
        );
        assert_eq!(found, ["1.5 kWh"]);
    }
}

#[test]
fn hungarian_meters_have_quadrants_and_limits() {
    for (line, name, value) in [
        (
            "1-0:5.8.0(000001.500*kvarh)",
            "reactive_Q1_total",
            "1.500 kvarh",
        ),
        ("1-0:8.7.0(00.028*kvar)", "Q_Q4", "0.028 kvar"),
        ("1-0:15.8.0(000001.500*kWh)", "absolute_total", "1.500 kWh"),
        ("1-0:31.4.0(040.00*A)", "I_L1_limit", "40.00 A"),
        ("1-0:14.7.0(50.00*Hz)", "frequency", "50.00 Hz"),
        ("1-0:33.7.0(0.970)", "PF_L1", "0.970"),
        ("1-0:1.8.1(000123.45*kWh )", "delivered_low", "123.45 kWh"),
    ] {
        assert_eq!(named_by(HUNGARIAN, name, &[line]), [value], "{line}");
    }
}

#[test]
fn a_belgian_grid_and_its_connection_have_names() {
    for (line, name, value) in [
        ("1-0:94.32.1(400)", "grid_voltage", "400"),
        (
            "0-0:96.1.2(353431343438363030303031323334353637)",
            "ean",
            "541448600001234567",
        ),
        ("1-0:31.4.0(999*A)", "I_L1_limit", "999 A"),
        ("1-0:1.4.0(02.351*kW)", "P_demand", "2.351 kW"),
    ] {
        assert_eq!(named_by(BELGIAN, name, &[line]), [value], "{line}");
    }
}

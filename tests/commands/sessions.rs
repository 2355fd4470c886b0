//! Clients that come, go and misbehave.

use embassy_futures::select::{Either4, select4};
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Timer};
use metertrekker::{
    app::{
        caller,
        monitor::Monitor,
        server::{self, SESSIONS},
        session::Room,
        stats::Stats,
    },
    receiver::Proof,
    smartmeter::{clock::Board, device::Device, journal::Journal, log::Level},
    soc::host::{executor::block_on_virtual, ram_flash::RamFlash},
    storage::Store,
};

use super::{
    telegrams::{reading, three_phases},
    wire::{Network, Wire},
};

pub type Flash = RamFlash<4096, 2>;
pub type TheDevice<'d, 'f> = Device<'d, 'f, Flash>;

pub async fn pause(milliseconds: u64) {
    Timer::after(Duration::from_millis(milliseconds)).await;
}

/// Runs `script` with a device of this name and clock, whose flash is empty.
pub fn with_device(name: &str, clock: Board, script: impl AsyncFnOnce(&TheDevice<'_, '_>, &Stats)) {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let mut journal = Journal::open(Flash::new(), 0..8192).await.unwrap();
        let (store, journal) = (Mutex::new(&mut store), Mutex::new(&mut journal));
        let stats = Stats::new();
        let device = Device::open(name, clock, &store, &stats).await;
        script(&device.with_journal(&journal), &stats).await;
    });
}

/// Runs the server while `script` goes on.
pub fn serve<'w>(network: &Network<'w>, script: impl AsyncFnOnce(&TheDevice<'_, '_>)) {
    let clock = || Some(1_614_680_860_000 + embassy_time::Instant::now().as_millis());
    with_device("smartmeterX", clock, async |device, _| {
        device.believed(&reading(&three_phases(0)));
        let mut rooms = [const { Room::new() }; SESSIONS];
        let mut room = Room::new();
        let serving = server::run(device, network, &mut rooms);
        let calling = caller::run(device, network, &mut room);
        match select4(serving, calling, device.keep_log(), script(device)).await {
            Either4::First(never) | Either4::Second(never) | Either4::Third(never) => {
                match never {}
            }
            Either4::Fourth(()) => {}
        }
    });
}

pub fn wires<const N: usize>() -> [Wire; N] {
    std::array::from_fn(|number| Wire::new(50_000 + number as u16))
}

const VOLTAGE: &str =
    r#"Info:{"error":false,"cmd":"getVoltage","voltage":[230.1,231.2,229.3],"unit":"V"}"#;

#[test]
fn a_client_is_greeted_and_told_each_second_that_the_device_is_alive() {
    let [one] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        pause(3_100).await;
        let lines = one.lines();
        assert!(lines[0].starts_with(r#"Info:{"cmd":"info","type":"smartmeter","#));
        let alive = [
            "Info:[I]03/02 11:27:41: ",
            "Info:[I]03/02 11:27:42: ",
            "Info:[I]03/02 11:27:43: ",
        ];
        assert_eq!(lines[1..], alive);
        one.send("{\"cmd\":\"log\",\"level\":\"warning\"}\r\n");
        pause(3_000).await;
        assert_eq!(
            one.lines(),
            [r#"Info:{"error":false,"cmd":"log","msg":"Log Level set to: warning"}"#]
        );
        one.send("{\"cmd\":\"getVoltage\"}\n!\r\n?\n");
        pause(10).await;
        assert_eq!(one.lines(), [VOLTAGE, "Info:Setup done"]);
    });
}

#[test]
fn a_line_without_its_end_is_taken_after_ten_seconds_of_silence() {
    let [one] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        one.send("{\"cmd\":\"log\",\"level\":\"warning\"}\n");
        pause(100).await;
        one.lines();
        one.send("{\"cmd\":\"get");
        pause(8_000).await;
        one.send("Voltage\"}");
        pause(8_900).await;
        assert_eq!(one.lines(), [""; 0]);
        pause(2_000).await;
        assert_eq!(one.lines(), [VOLTAGE]);
        // It is over, and the next one is whole.
        one.send("\n{\"cmd\":\"getVoltage\"}\r\n");
        pause(12_000).await;
        assert_eq!(one.lines(), [VOLTAGE]);
        one.send("x".repeat(700));
        pause(12_000).await;
        assert_eq!(one.lines().len(), 2, "the answer, and what all are told");
    });
}

#[test]
fn the_others_are_told_of_clients_that_come_and_go() {
    let [one, two] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        pause(100).await;
        network.connect(&two);
        pause(100).await;
        one.lines();
        two.hang_up();
        pause(100).await;
        assert_eq!(
            one.lines(),
            ["Info:[I]03/02 11:27:40: Client disconnected 192.168.0.7 port 50001"]
        );
        assert_eq!(two.ended(), Some("closed"));
        one.send("{\"cmd\":\"foo\"}\n");
        pause(100).await;
        // What a command says of itself comes before its answer.
        let expected = [
            "Info:[W]03/02 11:27:40: Received unknown command",
            r#"Info:{"error":true,"cmd":"foo","msg":"unknown command"}"#,
        ];
        assert_eq!(one.lines(), expected);
    });
}

#[test]
fn a_fourth_client_is_turned_away_with_a_word_until_there_is_room() {
    let all: [Wire; 6] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        for wire in &all[..4] {
            network.connect(wire);
        }
        pause(100).await;
        let word = r#"Info:{"error":true,"msg":"There are three clients already"}"#;
        assert_eq!(all[3].lines(), [word]);
        assert_eq!(all[3].ended(), Some("closed"));
        assert_eq!(all[0].ended(), None);
        all[1].hang_up();
        pause(100).await;
        network.connect(&all[4]);
        network.connect(&all[5]);
        pause(100).await;
        assert!(all[4].lines()[0].contains(r#""cmd":"info""#));
        assert_eq!(all[5].lines(), [word]);
        all[4].send("{\"cmd\":\"getVoltage\"}\n");
        pause(10).await;
        assert!(all[4].lines().contains(&VOLTAGE.into()));
    });
}

#[test]
fn of_three_clients_the_one_that_never_reads_harms_nobody_and_is_given_up() {
    let [one, two] = wires();
    // It takes half of the greeting.
    let deaf = Wire::new(50_002).taking(200);
    let late = Wire::new(50_003);
    let network = Network::new();
    serve(&network, async |device| {
        for wire in [&deaf, &one, &two] {
            network.connect(wire);
        }
        for _ in 0..50 {
            deaf.send("{\"cmd\":\"info\"}\n");
            for wire in [&one, &two] {
                wire.lines();
                wire.send("{\"cmd\":\"getVoltage\"}\n");
            }
            device.believed(&reading(&three_phases(0)));
            pause(90).await;
            for wire in [&one, &two] {
                let answers = wire.lines().into_iter().filter(|line| line == VOLTAGE);
                assert_eq!(answers.count(), 1);
            }
        }
        assert_eq!(deaf.ended(), None);
        pause(1_000).await;
        assert_eq!(deaf.ended(), Some("aborted"));
        network.connect(&late);
        pause(10).await;
        assert!(late.lines()[0].contains(r#""cmd":"info""#));
    });
}

#[test]
fn no_line_of_the_log_stands_in_an_answer() {
    let [one] = wires();
    let network = Network::new();
    serve(&network, async |device| {
        network.connect(&one);
        pause(10).await;
        one.lines();
        // They are there when the first piece goes, which has no room for them.
        for n in 0..4 {
            device.tell(Level::Warning, |text| {
                let _ = ufmt::uwrite!(text, "{}", n);
            });
        }
        one.send("{\"cmd\":\"settings\"}\n");
        pause(10).await;
        let lines = one.lines();
        assert!(lines.iter().filter(|line| line.contains("[W]")).count() > 3);
        for line in lines.iter().filter(|line| !line.contains("[W]")) {
            let json = line.strip_prefix("Info:").unwrap();
            assert!(
                serde_json::from_str::<serde_json::Value>(json).is_ok(),
                "{line}"
            );
        }
    });
}

#[test]
fn a_session_cut_at_every_byte_leaves_the_next_one_whole() {
    let script = concat!(
        "{\"cmd\":\"getPower\"}\r\n?\n!\r\n",
        "{\"cmd\":\"settings\",\"payload\":{\"root\":\"home\"}}\r\n",
        "{\"cmd\":\"calibration\",\"cal\":[1,1,1,1,1,1]}\r\nnonsense\n",
        "{\"cmd\":\"getVoltage\"}\r\n",
    );
    // At every byte that it sends, then at every byte that it takes.
    let sent = (0..=script.len()).map(|cut| (Wire::new(50_000), cut));
    let taken = (0..1_200)
        .step_by(7)
        .map(|cut| (Wire::new(50_000).taking(cut), script.len()));
    let wires: Vec<_> = sent.chain(taken).collect();
    let after: Vec<_> = wires.iter().map(|_| Wire::new(50_001)).collect();
    let network = Network::new();
    serve(&network, async |device| {
        for ((wire, cut), next) in wires.iter().zip(&after) {
            network.connect(wire);
            wire.send(&script[..*cut]);
            pause(20).await;
            wire.hang_up();
            network.connect(next);
            next.send("{\"cmd\":\"getVoltage\"}\n");
            device.believed(&reading(&three_phases(0)));
            pause(20).await;
            let lines = next.lines();
            assert!(lines.contains(&VOLTAGE.into()), "{cut} {lines:?}");
            next.hang_up();
            // One that was cut while it took nothing has to be given up first.
            pause(5_100).await;
        }
    });
}

#[test]
fn a_client_that_is_slow_to_read_misses_lines_of_the_log_and_no_answer() {
    let [one, _two] = wires();
    let network = Network::new();
    serve(&network, async |device| {
        network.connect(&one);
        pause(10).await;
        one.lines();
        for _ in 0..100 {
            device.totals_fell();
        }
        one.send("{\"cmd\":\"getVoltage\"}\n");
        pause(10).await;
        let lines = one.lines();
        assert_eq!(lines.last().map(String::as_str), Some(VOLTAGE));
        assert!((2..10).contains(&lines.len()), "{lines:?}");
    });
}

#[test]
fn a_command_waits_for_the_telegram_that_is_being_published() {
    let [one] = wires();
    let network = Network::new();
    serve(&network, async |device| {
        network.connect(&one);
        pause(10).await;
        let newest = reading(&three_phases(5));
        let answers = || {
            let lines = one.lines();
            lines.iter().filter(|line| **line == VOLTAGE).count()
        };
        for dealt_with in [true, false] {
            device.accepted(&newest, Proof::Crc);
            one.send("{\"cmd\":\"getVoltage\"}\n");
            pause(100).await;
            assert_eq!(answers(), 0, "{dealt_with}");
            match dealt_with {
                true => device.believed(&newest),
                false => device.totals_fell(),
            }
            pause(10).await;
            assert_eq!(answers(), 1, "{dealt_with}");
        }
        // Nobody takes it up, as when the port is opened anew at that moment.
        device.accepted(&newest, Proof::Crc);
        for _ in 0..2 {
            one.send("{\"cmd\":\"getVoltage\"}\n");
        }
        pause(210).await;
        assert_eq!(answers(), 2);
    });
}

#[test]
fn a_stream_server_is_called_until_it_answers_and_is_a_client_then() {
    let [one] = wires();
    let (server, again) = (Wire::new(54_322), Wire::new(54_322));
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        pause(500).await;
        one.lines();
        one.send("{\"cmd\":\"streamServer\",\"payload\":{\"server\":\"nobody.test\"}}\n");
        pause(100).await;
        let told: Vec<_> = one
            .lines()
            .iter()
            .map(|line| line[5..8].to_owned())
            .collect();
        assert_eq!(told, ["{\"e", "[I]", "[W]"]);
        one.send("{\"cmd\":\"streamServer\",\"payload\":{\"server\":\"server.test\"}}\n");
        // It answers the third call.
        pause(60_500).await;
        network.answer(&server);
        pause(29_000).await;
        assert!(server.lines().is_empty());
        pause(1_000).await;
        assert!(server.lines()[0].contains(r#""stream_server":"server.test""#));
        server.send("{\"cmd\":\"stop\"}\n");
        pause(10).await;
        assert_eq!(server.lines(), [r#"Info:{"error":true,"cmd":"stop"}"#]);
        // Without a server the connection stays.
        one.lines();
        one.send("{\"cmd\":\"streamServer\",\"payload\":{\"server\":\"-\"}}\n");
        pause(5_000).await;
        assert_eq!(server.ended(), None);
        server.hang_up();
        network.answer(&again);
        pause(100_000).await;
        assert!(again.lines().is_empty());
        one.lines();
        one.send("{\"cmd\":\"streamServer\",\"payload\":{\"server\":\"192.168.0.9\"}}\n");
        pause(10).await;
        assert!(again.lines()[0].contains(r#""cmd":"info""#));
    });
    let at = "192.168.0.9:54322".parse().unwrap();
    assert_eq!(
        network.calls(),
        [(0, at), (30, at), (60, at), (90, at), (196, at)]
    );
}

#[test]
fn a_client_that_stops_reading_amid_the_log_stops_nobody_and_the_log_goes_on() {
    let [one] = wires();
    // It takes the greeting and a part of the log.
    let deaf = Wire::new(50_002).taking(1_500);
    let network = Network::new();
    let log = |wire: &Wire| {
        let lines = wire.lines();
        let [log, end] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(end, r#"Info:{"error":false,"cmd":"getLog"}"#);
        let json: serde_json::Value = serde_json::from_str(&log["Info:".len()..]).unwrap();
        assert_eq!(json["cmd"], "log");
        let text = json["msg"].as_str().unwrap();
        let rows: Vec<_> = text.split("//n").map(String::from).collect();
        assert_eq!(
            (rows[0].as_str(), rows[rows.len() - 1].as_str()),
            ("*** LOGFile *** ", "*** LOGFile *** ")
        );
        rows[1..rows.len() - 1].to_vec()
    };
    serve(&network, async |device| {
        network.connect(&one);
        pause(10).await;
        one.send("{\"cmd\":\"log\",\"level\":\"error\"}\n");
        for n in 0..30 {
            device.tell(Level::Warning, |text| {
                let _ = ufmt::uwrite!(text, "\"warning\" {}", n);
            });
            pause(10).await;
        }
        network.connect(&deaf);
        deaf.send("{\"cmd\":\"getLog\"}\n");
        pause(1_000).await;
        device.tell(Level::Error, |text| {
            let _ = ufmt::uwrite!(text, "news");
        });
        pause(10).await;
        one.lines();
        one.send("{\"cmd\":\"getLog\"}\n");
        pause(10).await;
        let rows = log(&one);
        assert_eq!(rows.len(), 32);
        assert_eq!(rows[0], "03/02 11:27:40: Reboot");
        assert_eq!(rows[1], "[W]03/02 11:27:40: \"warning\" 0");
        assert_eq!(rows[31], "[E]03/02 11:27:41: news");
        assert_eq!(deaf.ended(), None);
        pause(4_500).await;
        assert_eq!(deaf.ended(), Some("aborted"));
        // A line that comes again and again is not kept again.
        for _ in 0..600 {
            device.totals_fell();
            pause(1_000).await;
        }
        one.lines();
        one.send("{\"cmd\":\"getLog\"}\n");
        pause(10).await;
        let row = "[W]03/02 11:27:45: A telegram was dropped: a register went backwards";
        assert_eq!(log(&one)[32..], [row]);
        one.send("{\"cmd\":\"clearLog\"}\n");
        pause(10).await;
        assert_eq!(one.lines(), [r#"Info:{"error":false,"cmd":"clearLog"}"#]);
        one.send("{\"cmd\":\"getLog\"}\n");
        pause(10).await;
        assert!(log(&one).is_empty());
    });
}

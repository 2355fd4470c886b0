//! What becomes of lines that come too fast, too early, or while flash fails.

use embassy_futures::select::{Either, select};
use embassy_sync::mutex::Mutex;
use embassy_time::Timer;
use metertrekker::{
    app::{monitor::Monitor, stats::Stats},
    reading::Reading,
    receiver::Proof,
    smartmeter::{
        answer::Answer,
        device::{Client, Device, Peer},
        journal::{Journal, Shared},
        log::Level,
    },
    soc::host::{executor::block_on_virtual, ram_flash::RamFlash},
    storage::Store,
};

type Flash = RamFlash<4096, 2>;
type TheDevice<'d, 'f> = Device<'d, 'f, Flash>;

/// Runs a device that tells of a warning before anything had a turn, while `script` goes on.
fn run(script: impl AsyncFnOnce(&TheDevice<'_, '_>, &Shared<'_, Flash>, &Stats)) {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let mut journal = Journal::open(Flash::new(), 0..8192).await.unwrap();
        let (store, journal) = (Mutex::new(&mut store), Mutex::new(&mut journal));
        let stats = Stats::new();
        let device = Device::open("x", || None, &store, &stats)
            .await
            .with_journal(&journal);
        let log = device.keep_log();
        device.totals_fell();
        match select(log, script(&device, &journal, &stats)).await {
            Either::First(never) => match never {},
            Either::Second(()) => {}
        }
    });
}

/// Both lines that answer a request.
async fn ask(device: &TheDevice<'_, '_>, request: &str) -> [serde_json::Value; 2] {
    let mut client = Client::new(Peer::Console, Level::Info);
    let mut answer = Answer::new();
    let mut all = String::new();
    device
        .answer(request.as_bytes(), &mut client, &mut answer)
        .await;
    loop {
        all += std::str::from_utf8(answer.bytes()).unwrap();
        if !device.more(&mut client, &mut answer) {
            break;
        }
    }
    let mut lines = all.split_terminator("\r\n");
    [(); 2].map(|()| {
        let json = lines.next().and_then(|line| line.strip_prefix("Info:"));
        json.map_or_else(Default::default, |json| serde_json::from_str(json).unwrap())
    })
}

async fn lost(device: &TheDevice<'_, '_>) -> u64 {
    let [info, _] = ask(device, r#"{"cmd":"info"}"#).await;
    info["log_lost"].as_u64().unwrap()
}

#[test]
fn a_port_that_cannot_be_read_is_told_once_until_a_telegram_came() {
    run(async |device, _, _| {
        let mut told = device.log.listen().unwrap();
        let mut lines = || {
            let entries = std::iter::from_fn(|| told.try_next_message_pure());
            let lines = entries.map(|entry| entry.line()[5..].trim_end().to_owned());
            lines.collect::<Vec<_>>()
        };
        let fails = || device.port_failed(&std::io::Error::other("unplugged"));
        for _ in 0..100 {
            fails();
            Timer::after_secs(1).await;
        }
        assert_eq!(lines(), ["[E]01/01 01:00:00: The P1 port cannot be read"]);
        device.accepted(&Reading::new(), Proof::Crc);
        fails();
        fails();
        assert_eq!(lines(), ["[E]01/01 01:00:00: The P1 port cannot be read"]);
    });
}

#[test]
fn what_is_told_before_the_first_turn_is_kept() {
    run(async |device, _, _| {
        Timer::after_secs(1).await;
        let [log, end] = ask(device, r#"{"cmd":"getLog"}"#).await;
        let expected = "*** LOGFile *** //n\
            01/01 01:00:00: Reboot//n\
            [W]01/01 01:00:00: A telegram was dropped: a register went backwards//n\
            *** LOGFile *** ";
        assert_eq!(log["msg"], expected);
        assert_eq!(end, serde_json::json!({"error": false, "cmd": "getLog"}));
        assert_eq!(lost(device).await, 0);
    });
}

#[test]
fn lines_that_come_faster_than_they_are_written_are_counted_as_lost() {
    run(async |device, _, _| {
        Timer::after_secs(1).await;
        for n in 0..10 {
            device.tell(Level::Error, |text| {
                let _ = ufmt::uwrite!(text, "error {}", n);
            });
        }
        Timer::after_secs(1).await;
        assert_eq!(lost(device).await, 6);
        let [log, _] = ask(device, r#"{"cmd":"getLog"}"#).await;
        let rows: Vec<_> = log["msg"].as_str().unwrap().split("//n").collect();
        assert!(rows[3].ends_with("error 6") && rows[6].ends_with("error 9"));
    });
}

#[test]
fn flash_that_fails_costs_lines_and_is_counted() {
    run(async |device, journal, stats| {
        Timer::after_secs(1).await;
        journal.lock().await.flash().set_broken(true);
        device.tell(Level::Error, |text| {
            let _ = ufmt::uwrite!(text, "gone");
        });
        Timer::after_secs(1).await;
        assert_eq!((lost(device).await, stats.storage_errors.get()), (1, 1));
        let [clear, _] = ask(device, r#"{"cmd":"clearLog"}"#).await;
        assert_eq!(clear["error"], true);
        assert_eq!(stats.storage_errors.get(), 2);
        journal.lock().await.flash().set_broken(false);
        device.tell(Level::Error, |text| {
            let _ = ufmt::uwrite!(text, "there");
        });
        Timer::after_secs(1).await;
        let [log, _] = ask(device, r#"{"cmd":"getLog"}"#).await;
        let text = log["msg"].as_str().unwrap();
        assert!(
            text.contains("backwards//n[E]01/01 01:00:00: there//n"),
            "{text}"
        );

        // It cannot even be read.
        journal.lock().await.flash().cut_after(0);
        let [log, end] = ask(device, r#"{"cmd":"getLog"}"#).await;
        assert_eq!(log["msg"], "*** LOGFile *** //n*** LOGFile *** ");
        assert_eq!(
            (&end["error"], &end["cmd"]),
            (&true.into(), &"getLog".into())
        );
        assert_eq!(end["msg"], "Not all of the log could be read");
        assert_eq!(stats.storage_errors.get(), 3);
    });
}

#[test]
fn erases_are_told() {
    run(async |device, journal, _| {
        for _ in 0..200 {
            let journal = &mut *journal.lock().await;
            journal.append(&"x".repeat(100)).await.unwrap();
        }
        // It is told when a line was kept.
        device.tell(Level::Error, |_| {});
        Timer::after_secs(1).await;
        let [info, _] = ask(device, r#"{"cmd":"info"}"#).await;
        let sum: u32 = journal.lock().await.flash().erases().iter().sum();
        assert!(sum > 2);
        assert_eq!(info["log_erases"], sum);
    });
}

//! What the device does by the clock.

use embassy_futures::select::{Either, select};
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, Timer};
use metertrekker::{
    app::{monitor::Monitor, stats::Stats},
    smartmeter::{
        answer::Whole,
        device::{Change, Client, Device, Peer},
        log::Level,
    },
    soc::host::{executor::block_on_virtual, ram_flash::RamFlash},
    storage::Store,
};

use super::telegrams::{reading, three_phases};

type Flash = RamFlash<4096, 2>;

/// 2021-03-02 02:00:00 local time, an hour and five minutes before the restart.
const START: u64 = 1_614_646_800_000;

fn clock() -> Option<u64> {
    Some(START + Instant::now().as_millis())
}

/// Seconds until the device starts over.
async fn until_restart(store: &mut Store<Flash>, command: &[u8], most: u64) -> Option<u64> {
    let began = Instant::now();
    let store = Mutex::new(store);
    let stats = Stats::new();
    let device = Device::open("x", clock, &store, &stats).await;
    let mut client = Client::new(Peer::Console, Level::Info);
    device
        .answer_whole(command, &mut client, &mut <Whole>::new())
        .await;
    let end = async {
        match select(device.changed(), Timer::after(Duration::from_secs(most))).await {
            Either::First(change) => {
                assert_eq!(change, Change::Restart);
                Some(began.elapsed().as_secs())
            }
            Either::Second(()) => None,
        }
    };
    match select(device.keep_house(), end).await {
        Either::First(never) => match never {},
        Either::Second(seconds) => seconds,
    }
}

#[test]
fn the_daily_restart_comes_once_a_day_at_its_minute() {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let command = br#"{"cmd":"dailyRestart","hour":3,"minute":5}"#;
        let first = until_restart(&mut store, command, 90_000).await.unwrap();
        assert!((3_900..3_905).contains(&first), "{first}");
        // It starts within that minute, and waits for the next day.
        let second = until_restart(&mut store, b"", 90_000).await.unwrap();
        assert!((86_395..86_405).contains(&second), "{second}");
        let off = br#"{"cmd":"dailyRestart","hour":-1,"minute":-1}"#;
        assert_eq!(until_restart(&mut store, off, 200_000).await, None);
    });
}

#[test]
fn the_daily_restart_comes_though_the_flash_fails() {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let command = br#"{"cmd":"dailyRestart","hour":3,"minute":5}"#;
        assert_eq!(until_restart(&mut store, command, 1).await, None);
        store.flash().set_broken(true);
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = Device::open("x", clock, &store, &stats).await;
        device.believed(&reading(&three_phases(0)));
        let end = select(device.changed(), Timer::after_secs(90_000));
        match select(device.keep_house(), end).await {
            Either::First(never) => match never {},
            Either::Second(Either::First(change)) => assert_eq!(change, Change::Restart),
            Either::Second(Either::Second(())) => panic!("no restart within a day"),
        }
        assert_eq!(stats.storage_errors.get(), 2, "the hour's and the last");
    });
}

#[test]
fn energy_is_kept_every_hour_and_only_when_it_has_changed() {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = Device::open("x", clock, &store, &stats).await;
        let written = async || store.lock().await.flash().bytes_written();
        let script = async {
            device.believed(&reading(&three_phases(0)));
            Timer::after_secs(3_590).await;
            assert_eq!(written().await, 0);
            Timer::after_secs(20).await;
            let first = written().await;
            assert!(first > 0);
            Timer::after_secs(36_000).await;
            assert_eq!(written().await, first);
            device.believed(&reading(&three_phases(5)));
            Timer::after_secs(3_600).await;
            assert_eq!(written().await, first + 48);
        };
        match select(device.keep_house(), script).await {
            Either::First(never) => match never {},
            Either::Second(()) => {}
        }
    });
}

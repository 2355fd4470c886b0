//! The publisher task.

use std::cell::Cell;

use embassy_futures::join::join;
use embassy_time::Duration;
use metertrekker::{app::monitor::Drop, soc::host::executor::block_on};

use super::{
    broker::{Acks, Connect, Manners, Packet, Publish},
    link::{Cut, End, Fate, Feed, Network, Outcome, Step, blank, pause, publish, settings, simply},
    recorder::Told,
    telegrams::{Telegram, losses},
};

const STATUS: &str = "pwutseltronics/status";
const NOTIFY: &str = "pwutseltronics/debug/node_connect";
const INFLUX: &str = "pwutseltronics/influx/metertrekker";
const LOW: &str = "pwutseltronics/energy/mains/reading/delivered/low";
const GAS: &str = "pwutseltronics/energy/gas/reading";

fn connects(network: &Network) -> Vec<Connect> {
    let log = network.log().into_iter();
    log.filter_map(|(_, _, packet)| match packet {
        Packet::Connect(connect) => Some(*connect),
        _ => None,
    })
    .collect()
}

/// `delivered_low` of the electricity lines, in Wh.
fn lines(messages: &[(usize, Publish)]) -> Vec<u32> {
    let of_influx = messages
        .iter()
        .filter(|(_, message)| message.topic == INFLUX);
    of_influx
        .filter_map(|(_, message)| number(&message.payload, "delivered_low="))
        .collect()
}

/// Stamps of the gas lines.
fn gas_lines(messages: &[(usize, Publish)]) -> Vec<String> {
    let of_influx = messages
        .iter()
        .filter(|(_, message)| message.topic == INFLUX);
    of_influx
        .filter(|(_, message)| message.payload.starts_with("gas,"))
        .map(|(_, message)| message.payload.split('"').nth(1).unwrap().to_owned())
        .collect()
}

fn number(line: &str, column: &str) -> Option<u32> {
    let (_, rest) = line.split_once(column)?;
    let digits = rest.split([',', ' ']).next()?;
    digits.replace('.', "").parse().ok()
}

fn nothing_lost(outcome: &Outcome) {
    let lost = losses(&outcome.stats);
    assert!(lost.iter().all(|(_, count)| *count == 0), "{lost:?}");
}

#[test]
fn connecting_is_announced_with_a_will_and_leaving_with_the_same_topic() {
    let network = Network::default();
    let outcome = simply(&network, async |_| pause(1_000).await);
    let will = |payload: &str| Publish {
        topic: STATUS.into(),
        payload: payload.into(),
        qos: 1,
        retain: true,
        dup: false,
        id: 0,
    };
    assert_eq!(
        connects(&network),
        [Connect {
            client_id: "Metertrekker-test".into(),
            clean_start: true,
            keep_alive: 60,
            session_expiry: Some(3600),
            user: None,
            password: None,
            will: Some(will("offline")),
        }]
    );
    let messages = network.messages();
    let notify = Publish {
        topic: NOTIFY.into(),
        payload: "Metertrekker-test (re)connected after 0.0s".into(),
        qos: 0,
        retain: false,
        dup: false,
        id: 0,
    };
    let (birth, farewell) = (will("online"), will("offline"));
    let [(_, first), (_, second), (_, last)] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(
        first,
        &Publish {
            id: first.id,
            ..birth
        }
    );
    assert_eq!(second, &notify);
    assert_eq!(
        last,
        &Publish {
            id: last.id,
            ..farewell
        }
    );
    assert_eq!(network.log().last().unwrap().2, Packet::Disconnect);
    nothing_lost(&outcome);
}

#[test]
fn user_password_and_client_id_of_the_settings_are_used() {
    let network = Network::default();
    let settings = settings(&[
        ("mqtt_user", "me"),
        ("mqtt_password", "se cret"),
        ("client_id", "p1"),
        ("root", "home/p1"),
    ]);
    let mut store = block_on(blank());
    publish(&network, &settings, &mut store, End::Goodbye, async |_| {});
    let connect = connects(&network).remove(0);
    assert_eq!(connect.client_id, "p1");
    assert_eq!(connect.user.as_deref(), Some("me"));
    assert_eq!(connect.password.as_deref(), Some("se cret"));
    assert_eq!(
        network.retained("home/p1/status").as_deref(),
        Some("offline")
    );
}

#[test]
fn a_reading_is_its_lines_and_then_its_topics() {
    let network = Network::default();
    let outcome = simply(&network, async |feed| {
        pause(1_000).await;
        feed.offer(&Telegram::new(1_234).message("hi"));
        pause(1_000).await;
    });
    let messages = network.messages();
    let (announced, messages) = (&messages[..2], &messages[2..messages.len() - 1]);
    assert_eq!(announced[1].1.topic, NOTIFY);
    let split = messages
        .iter()
        .take_while(|(_, message)| message.topic == INFLUX);
    let (lines, topics) = messages.split_at(split.count());
    assert_eq!(lines.len(), 2);
    assert!(lines[0].1.payload.starts_with("electricity,"), "{lines:?}");
    assert!(lines[1].1.payload.starts_with("gas,"), "{lines:?}");
    for (_, line) in lines {
        assert_eq!((line.qos, line.retain, line.dup), (1, false, false));
    }
    assert!(topics.len() == 7, "{topics:?}");
    for (_, topic) in topics {
        assert_eq!((topic.qos, topic.retain), (0, true), "{topic:?}");
        assert!(
            topic.topic.starts_with("pwutseltronics/energy/"),
            "{topic:?}"
        );
    }
    assert_eq!(network.retained(GAS).as_deref(), Some("1.000"));
    assert_eq!(outcome.stats.published.get(), 1);
    nothing_lost(&outcome);
}

#[test]
fn without_a_broker_it_is_tried_for_ever_ever_less_often() {
    for fate in [
        Fate {
            name: Step::Fails,
            ..Fate::default()
        },
        Fate {
            name: Step::Hangs,
            ..Fate::default()
        },
        Fate {
            connect: Step::Fails,
            ..Fate::default()
        },
        Fate {
            connect: Step::Hangs,
            ..Fate::default()
        },
    ] {
        let network = Network::default().then(fate);
        let mut store = block_on(blank());
        let day = async |feed: &Feed<'_, '_>| {
            for n in 0..24 * 60 {
                feed.offer(&Telegram::new(n));
                pause(60_000).await;
            }
        };
        let outcome = publish(&network, &settings(&[]), &mut store, End::Cut, day);
        let failures = outcome.told.failures();
        assert_eq!(
            outcome.stats.failed_connections.get() as usize,
            failures.len()
        );
        assert!(
            (1_000..=1_500).contains(&failures.len()),
            "{}",
            failures.len()
        );
        for (n, (_, retry)) in failures.iter().enumerate() {
            let base = Duration::from_secs(1 << n.min(6)).min(Duration::from_secs(60));
            assert!((base..=base + base / 4).contains(retry), "{n}: {retry}");
        }
        let waits: Vec<_> = failures[10..20].iter().map(|(_, retry)| *retry).collect();
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]), "no jitter");
        assert_eq!(
            outcome.stats.superseded.get(),
            0,
            "counted by whoever offers"
        );
    }
}

#[test]
fn the_notification_tells_how_long_the_broker_was_away_and_the_back_off_begins_anew() {
    let fails = Fate {
        connect: Step::Fails,
        ..Fate::default()
    };
    let network = Network::default().fates([fails; 6]);
    let outcome = simply(&network, async |_| {
        // Six waits of 1 to 32 s, each up to a quarter longer.
        pause(100_000).await;
        network.hang_up();
        pause(100_000).await;
    });
    let retries = outcome.told.failures();
    assert_eq!(retries.len(), 7, "{retries:?}");
    assert!(retries[5].1 >= Duration::from_secs(32));
    assert!(retries[6].1 < Duration::from_secs(2), "{retries:?}");
    assert!(retries[6].0.contains("Closed"), "{retries:?}");
    let tenths = outcome.told.only(|told| match told {
        Told::Connected { tenths } => Some(*tenths),
        _ => None,
    });
    let text = |tenths: u64| {
        let (seconds, tenths) = (tenths / 10, tenths % 10);
        format!("Metertrekker-test (re)connected after {seconds}.{tenths}s")
    };
    assert!(
        (630..800).contains(&tenths[0]) && (10..13).contains(&tenths[1]),
        "{tenths:?}"
    );
    assert_eq!(network.payloads(NOTIFY), [text(tenths[0]), text(tenths[1])]);
}

#[test]
fn a_broker_that_refuses_is_told_with_its_reason_and_asked_again() {
    let network = Network::new(Manners {
        connack: 0x86,
        ..Manners::default()
    });
    let outcome = simply(&network, async |_| {
        pause(60_000).await;
        network.manners(|manners| manners.connack = 0);
        pause(60_000).await;
    });
    let failures = outcome.told.failures();
    assert!(failures.len() > 3);
    for (failure, _) in failures {
        assert_eq!(failure, "Refused(BadUsernameOrPassword)");
    }
    assert_eq!(outcome.stats.connections.get(), 1);
}

#[test]
fn a_broker_of_mqtt_3_is_told_to_break_the_protocol() {
    let network = Network::new(Manners {
        speaks_311: true,
        ..Manners::default()
    });
    let mut store = block_on(blank());
    let end = async |_: &Feed<'_, '_>| pause(10_000).await;
    let outcome = publish(&network, &settings(&[]), &mut store, End::Cut, end);
    for (failure, _) in outcome.told.failures() {
        assert_eq!(failure, "Protocol");
    }
    assert!(!outcome.told.failures().is_empty());
}

#[test]
fn no_step_waits_for_ever() {
    // Bytes of the CONNECT, its birth and a reading go through, then nothing.
    for stall in [0, 50, 150, 200, 400, 1_500] {
        let stalled = Fate {
            cut: Cut::Stalls(stall),
            ..Fate::default()
        };
        let network = Network::default().fates([stalled]);
        let outcome = simply(&network, async |feed| {
            for n in 1..=10 {
                feed.offer(&Telegram::new(n));
                pause(15_000).await;
            }
        });
        assert_eq!(outcome.told.failures().len(), 1, "{stall}");
        assert_eq!(
            outcome.stats.connections.get(),
            if stall < 150 { 1 } else { 2 },
            "{stall}"
        );
        let after = network
            .messages()
            .into_iter()
            .filter(|(connection, _)| *connection == 2);
        let after = lines(&after.collect::<Vec<_>>());
        assert!(
            after.len() >= 6 && after.ends_with(&[9, 10]),
            "{stall}: {after:?}"
        );
    }
    let network = Network::new(Manners {
        silent: true,
        ..Manners::default()
    });
    let outcome = simply(&network, async |_| {
        pause(5_000).await;
        network.manners(|manners| manners.silent = false);
        pause(20_000).await;
    });
    assert_eq!(outcome.told.failures()[0].0, "Timeout");
    assert_eq!(outcome.stats.connections.get(), 1);
}

#[test]
fn sending_again_does_not_wait_for_ever_either() {
    let stalls = Fate {
        cut: Cut::Stalls(200),
        ..Fate::default()
    };
    let manners = Manners {
        acks: Acks::Never,
        ..Manners::default()
    };
    let network = Network::new(manners).fates([Fate::default(), stalls]);
    let outcome = simply(&network, async |feed| {
        pause(1_000).await;
        // More than what is gathered before it has to be written.
        for n in 1..=4 {
            let message = n.to_string().repeat(if n == 1 { 900 } else { 150 });
            feed.offer(&Telegram::new(n).message(&message));
            pause(1_000).await;
        }
        network.manners(|manners| manners.acks = Acks::After(Duration::from_ticks(0)));
        network.hang_up();
        pause(60_000).await;
    });
    let failures = outcome.told.failures();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert_eq!(failures[1].0, "Timeout");
    let again = network.messages().into_iter();
    let again: Vec<_> = again.filter(|(number, _)| *number == 3).collect();
    assert_eq!(lines(&again), [1, 2, 3, 4]);
    nothing_lost(&outcome);
}

#[test]
fn silence_counts_from_the_moment_when_an_answer_is_due() {
    let network = Network::new(Manners {
        acks: Acks::After(Duration::from_secs(5)),
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        for n in 1..=10 {
            feed.offer(&Telegram::new(n));
            pause(50_000).await;
        }
    });
    assert_eq!(outcome.told.failures(), []);
    assert_eq!(lines(&network.messages()), (1..=10).collect::<Vec<_>>());
}

#[test]
fn the_good_bye_waits_for_its_turn() {
    let network = Network::new(Manners {
        receive_maximum: Some(1),
        acks: Acks::After(Duration::from_secs(7)),
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        pause(10_000).await;
        feed.deliver(&Telegram::new(1)).await;
    });
    assert_eq!(network.retained(STATUS).as_deref(), Some("offline"));
    assert_eq!(outcome.told.failures(), []);
}

#[test]
fn leaving_does_not_wait_for_ever_either() {
    let network = Network::new(Manners {
        acks: Acks::Never,
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        pause(1_000).await;
        feed.deliver(&Telegram::new(1)).await;
        pause(1_000).await;
        // The connection at hand never answers; the next one does.
        network.manners(|manners| manners.acks = Acks::After(Duration::from_ticks(0)));
    });
    assert!(outcome.end < 60_000, "{}", outcome.end);
    assert_eq!(network.retained(STATUS).as_deref(), Some("offline"));
    assert_eq!(outcome.stats.connections.get(), 2);
    nothing_lost(&outcome);
}

#[test]
fn a_broker_that_vanishes_is_noticed_while_readings_are_published() {
    let vanishes = Fate {
        cut: Cut::Vanishes(2_000),
        ..Fate::default()
    };
    let network = Network::default().fates([vanishes]);
    let outcome = simply(&network, async |feed| {
        for n in 1..=40 {
            feed.offer(&Telegram::new(n));
            pause(15_000).await;
        }
    });
    let failures = outcome.told.failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].0, "Timeout");
    // What was under way then is sent again, and all that follows arrives.
    let mut arrived = lines(&network.messages());
    arrived.dedup();
    assert_eq!(arrived, (1..=40).collect::<Vec<_>>());
}

#[test]
fn an_idle_connection_is_pinged_and_given_up_when_nothing_comes_back() {
    let network = Network::default();
    let outcome = simply(&network, async |_| {
        pause(200_000).await;
        network.manners(|manners| manners.silent = true);
        pause(70_000).await;
        network.manners(|manners| manners.silent = false);
        pause(10_000).await;
    });
    let pings = network.log().into_iter();
    let pings = pings.filter(|(_, _, packet)| *packet == Packet::Ping);
    assert_eq!(pings.count(), 4);
    assert_eq!(outcome.stats.connections.get(), 2);
}

#[test]
fn without_acknowledgements_lines_are_dropped_and_counted_and_topics_go_on() {
    let network = Network::new(Manners {
        acks: Acks::Never,
        ..Manners::default()
    });
    let mut store = block_on(blank());
    let outcome = publish(
        &network,
        &settings(&[]),
        &mut store,
        End::Cut,
        async |feed| {
            for n in 1..=15 {
                feed.offer(&Telegram::new(n));
                pause(1_000).await;
            }
        },
    );
    let unacknowledged = outcome.stats.unacknowledged.get();
    let published = outcome.stats.published.get();
    let mut sent = lines(&network.messages());
    sent.sort();
    sent.dedup();
    assert!(unacknowledged > 0);
    // The birth message has one of the eight places, the first gas line another.
    assert_eq!(sent.len(), 6);
    assert_eq!(published, 6, "those that went out whole");
    let topic = network.payloads(LOW);
    assert_eq!(topic.len() as u32, published + unacknowledged, "{topic:?}");
    assert_eq!(outcome.stats.connections.get(), 1);
    let dropped = outcome.told.only(|told| match told {
        Told::Dropped(what) => Some(*what),
        _ => None,
    });
    assert_eq!(dropped, vec![Drop::Unacknowledged; unacknowledged as usize]);
}

#[test]
fn a_broker_that_takes_one_message_at_a_time_gets_every_line() {
    let network = Network::new(Manners {
        receive_maximum: Some(1),
        acks: Acks::After(Duration::from_millis(300)),
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        for n in 1..=10 {
            feed.offer(&Telegram::new(n));
            pause(2_000).await;
        }
    });
    assert_eq!(lines(&network.messages()), (1..=10).collect::<Vec<_>>());
    assert_eq!(gas_lines(&network.messages()), ["260115180000W"]);
    nothing_lost(&outcome);
}

#[test]
fn a_gas_line_without_room_comes_with_the_next_reading() {
    let network = Network::new(Manners {
        receive_maximum: Some(1),
        acks: Acks::After(Duration::from_millis(2_500)),
        ..Manners::default()
    });
    simply(&network, async |feed| {
        pause(5_000).await;
        feed.offer(&Telegram::new(1).message("hi"));
        pause(15_000).await;
        network.manners(|manners| manners.acks = Acks::After(Duration::from_millis(20)));
        feed.offer(&Telegram::new(2).message("hi"));
        pause(15_000).await;
    });
    assert_eq!(lines(&network.messages()), [1, 2]);
    assert_eq!(gas_lines(&network.messages()), ["260115180000W"]);
}

#[test]
fn a_broker_of_qos_0_gets_everything_as_such() {
    let network = Network::new(Manners {
        maximum_qos: Some(0),
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        pause(1_000).await;
        feed.offer(&Telegram::new(1));
        pause(1_000).await;
    });
    let messages = network.messages();
    assert!(messages.iter().all(|(_, message)| message.qos == 0));
    assert_eq!(lines(&messages), [1]);
    assert_eq!(network.retained(STATUS).as_deref(), Some("offline"));
    nothing_lost(&outcome);
}

#[test]
fn what_is_too_large_for_the_broker_is_dropped_and_counted_and_the_rest_goes_on() {
    let network = Network::new(Manners {
        maximum_packet: Some(700),
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        let telegram = Telegram::new(1).message(&"x".repeat(600));
        pause(1_000).await;
        feed.offer(&telegram);
        pause(15_000).await;
        feed.offer(&Telegram { wh: 2, ..telegram });
        pause(1_000).await;
    });
    // The message makes the first line too long; the second goes without it.
    assert_eq!(lines(&network.messages()), [2]);
    assert_eq!(gas_lines(&network.messages()), ["260115180000W"]);
    assert_eq!(network.payloads(GAS), ["1.000"]);
    // The line; and its topic has 600 characters and fits.
    assert_eq!(outcome.stats.too_large.get(), 1);
    assert_eq!(outcome.stats.published.get(), 1);
    assert_eq!(outcome.stats.connections.get(), 1);
}

#[test]
fn a_message_that_the_broker_refuses_costs_no_connection() {
    // 0x87: not authorized.
    let network = Network::new(Manners {
        acks: Acks::Reason(0x87),
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        for n in 1..=5 {
            feed.offer(&Telegram::new(n));
            pause(15_000).await;
        }
    });
    assert_eq!(outcome.stats.connections.get(), 1);
    // Birth, five lines of each meter, since a gas line that was refused is due again, farewell.
    assert_eq!(outcome.stats.rejected.get(), 12);
    assert_eq!(gas_lines(&network.messages()).len(), 5);
    let told = outcome.told.only(|told| match told {
        Told::Rejected(reason) => Some(format!("{reason:?}")),
        _ => None,
    });
    assert_eq!(told, vec!["NotAuthorized"; 12]);
    let topic = network.payloads(LOW);
    assert_eq!(topic.len(), 5);
}

#[test]
fn a_resumed_session_gets_the_unacknowledged_line_once_more() {
    let network = Network::new(Manners {
        acks: Acks::Never,
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        pause(1_000).await;
        feed.offer(&Telegram::new(1));
        pause(1_000).await;
        network.manners(|manners| manners.acks = Acks::After(Duration::from_millis(20)));
        network.hang_up();
        pause(15_000).await;
        feed.offer(&Telegram::new(2));
        pause(1_000).await;
    });
    assert!(!connects(&network)[1].clean_start);
    let messages = network.messages();
    assert_eq!(lines(&messages), [1, 1, 2]);
    assert_eq!(gas_lines(&messages).len(), 2);
    let [first, second] = [1, 2].map(|connection| {
        let mut of = messages
            .iter()
            .filter(|(number, message)| *number == connection && number_of(message) == Some(1));
        of.next().unwrap().1.clone()
    });
    assert_eq!(second, Publish { dup: true, ..first });
    nothing_lost(&outcome);
}

fn number_of(message: &Publish) -> Option<u32> {
    number(&message.payload, "delivered_low=")
}

#[test]
fn a_session_that_is_gone_with_messages_in_flight_is_counted_and_gas_is_due_again() {
    let network = Network::new(Manners {
        acks: Acks::Never,
        forgets: true,
        ..Manners::default()
    });
    let outcome = simply(&network, async |feed| {
        pause(1_000).await;
        feed.offer(&Telegram::new(1));
        pause(1_000).await;
        network.manners(|manners| manners.acks = Acks::After(Duration::from_millis(20)));
        network.hang_up();
        pause(15_000).await;
        feed.offer(&Telegram::new(2));
        pause(1_000).await;
    });
    let messages = network.messages();
    assert_eq!(lines(&messages), [1, 2]);
    let after: Vec<_> = messages
        .into_iter()
        .filter(|(number, _)| *number == 2)
        .collect();
    assert_eq!(gas_lines(&after).len(), 1);
    assert!(after.iter().any(|(_, message)| message.topic == GAS));
    assert_eq!(outcome.stats.lost_in_flight.get(), 1);
    assert_eq!(
        outcome
            .told
            .only(|told| (*told == Told::Dropped(Drop::InFlight)).then_some(()))
            .len(),
        1
    );
}

/// Offers or delivers five readings, of which the third has newer gas.
async fn five(feed: &Feed<'_, '_>, message: &str, waits: bool) {
    pause(1_000).await;
    for n in 1..=5 {
        let (gas, litres) = match n {
            ..3 => ("260115180000W", 1_000),
            _ => ("260115190000W", 1_001),
        };
        let telegram = Telegram::new(n).gas(gas, litres).message(message);
        if waits {
            feed.deliver(&telegram).await;
        } else {
            feed.offer(&telegram);
        }
        pause(15_000).await;
    }
}

/// Runs five readings over a link of which the first connection breaks as told, and checks that
/// nothing is lost that can be kept.
fn survives(cut: Cut, message: &str, forgets: bool, waits: bool) {
    let case = format!("{cut:?}, forgets {forgets}, waits {waits}");
    let manners = Manners {
        forgets,
        ..Manners::default()
    };
    let fate = Fate {
        cut,
        ..Fate::default()
    };
    let network = Network::new(manners).fates([fate]);
    let outcome = simply(&network, async |feed| five(feed, message, waits).await);
    let messages = network.messages();
    let mut arrived = lines(&messages);
    arrived.sort();
    arrived.dedup();
    let lost = outcome.stats.lost_in_flight.get();
    if forgets {
        assert!(
            arrived.len() == 5 || lost == 1,
            "{case}: {arrived:?} and {lost}"
        );
        assert!(arrived.ends_with(&[5]), "{case}: {arrived:?}");
    } else {
        assert_eq!(arrived, [1, 2, 3, 4, 5], "{case}");
        assert_eq!(lost, 0, "{case}");
    }
    let mut gas = gas_lines(&messages);
    gas.sort();
    gas.dedup();
    let stamps = ["260115180000W", "260115190000W"];
    let both = gas == stamps;
    assert!(both || lost == 1 && gas == stamps[1..], "{case}: {gas:?}");
    assert_eq!(network.retained(GAS).as_deref(), Some("1.001"), "{case}");
    let shown = network.retained("pwutseltronics/energy/mains/message");
    assert_eq!(shown.as_deref(), Some(message), "{case}");
    assert_eq!(outcome.stats.published.get(), 5, "{case}");
    let [superseded, too_large, unacknowledged, _, rejected] =
        losses(&outcome.stats).map(|(_, count)| count);
    let others = [superseded, too_large, unacknowledged, rejected];
    assert_eq!(others, [0; 4], "{case}");
    let stats = &outcome.stats;
    let attempts = stats.connections.get() + stats.failed_connections.get();
    assert_eq!(attempts, 2, "{case}");
}

/// Bytes that the first two readings of [`five`] and what comes before them take.
fn two_readings(message: &str) -> usize {
    let network = Network::default();
    let written = Cell::new(0);
    simply(&network, async |feed| {
        let stop = async {
            pause(30_000).await;
            written.set(network.written());
        };
        join(five(feed, message, false), stop).await;
    });
    written.get()
}

/// Every so many bytes of [`two_readings`], with a broker that forgets and a source that waits in
/// turn.
fn survives_every(bytes: usize, message: &str, cut: fn(usize) -> Cut) {
    for at in (0..two_readings(message)).step_by(bytes) {
        survives(cut(at), message, at % 2 == 0, at % 3 == 0);
    }
}

#[test]
fn a_link_may_fail_after_any_byte() {
    survives_every(1, "hi", Cut::Fails);
}

#[test]
fn a_link_may_stall_after_any_byte() {
    survives_every(5, "hi", Cut::Stalls);
}

#[test]
fn a_link_may_break_while_a_reading_is_handed_over() {
    // More than is gathered, so that some of it is written at once.
    let message = "message ".repeat(110);
    survives_every(19, &message, Cut::Fails);
    survives_every(71, &message, Cut::Stalls);
}

#[test]
fn readings_that_come_at_any_moment_lose_and_repeat_no_byte() {
    let readings = 12;
    let run = |ragged: Option<u64>| {
        let fate = Fate {
            ragged,
            ..Fate::default()
        };
        let network = Network::default().then(fate);
        let outcome = simply(&network, async |feed| {
            let mut random = ragged.unwrap_or(1);
            for n in 1..=readings {
                feed.deliver(&Telegram::new(n)).await;
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                embassy_time::Timer::after(Duration::from_micros(random >> 50)).await;
            }
        });
        assert_eq!(outcome.stats.connections.get(), 1, "{ragged:?}");
        nothing_lost(&outcome);
        let messages = network.messages().into_iter();
        messages
            .filter(|(_, message)| message.topic != NOTIFY)
            .map(|(_, message)| Publish { id: 0, ..message })
            .collect::<Vec<_>>()
    };
    let sound = run(None);
    assert_eq!(
        lines(&sound.iter().map(|m| (1, m.clone())).collect::<Vec<_>>()).len(),
        12
    );
    for seed in 1..=150 {
        assert_eq!(run(Some(seed)), sound, "seed {seed}");
    }
}

//! Addresses for the clients of the device's access point, by packets that are put together by hand (RFC 2131).

use std::net::SocketAddr;

use embassy_futures::select::{Either, select};
use metertrekker::{
    app::dhcp::{self, PACKET},
    smartmeter::device::Link,
};

use super::{
    sessions::{TheDevice, pause, with_device},
    street::Street,
};

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

fn serving(street: &Street, script: impl AsyncFnOnce(&TheDevice<'_, '_>)) {
    with_device(
        "meter",
        || None,
        async |device, _| {
            let mut packet = [0; PACKET];
            let running = dhcp::run(device, street, &mut packet);
            match select(running, script(device)).await {
                Either::First(never) => match never {},
                Either::Second(()) => {}
            }
        },
    );
}

/// What a client sends: its last byte of the MAC address, the kind, and the address that it wants.
fn packet(client: u8, kind: u8, wants: Option<[u8; 4]>) -> Vec<u8> {
    let mut packet = vec![1, 1, 6, 0, 0xAA, 0xBB, 0xCC, client, 0, 0, 0, 0];
    packet.extend([0; 16]);
    packet.extend([2, 0, 0, 0, 0, client]);
    packet.resize(236, 0);
    packet.extend([99, 130, 83, 99, 53, 1, kind]);
    if let Some(wants) = wants {
        packet.extend([50, 4]);
        packet.extend(wants);
    }
    // Mask, router, name server; the end, and what fills it up.
    packet.extend([55, 3, 1, 3, 6, 255]);
    packet.resize(300, 0);
    packet
}

/// Sends and returns kind, address and options of the answer.
async fn ask(street: &Street, packet: Vec<u8>) -> Option<(u8, [u8; 4], Vec<(u8, Vec<u8>)>)> {
    let client = packet[7];
    street.push(packet, "0.0.0.0:68".parse().unwrap());
    pause(10).await;
    let sent = street.sent();
    assert!(sent.len() < 2);
    let (_, to, answer) = sent.into_iter().next()?;
    assert_eq!(to, "255.255.255.255:68".parse::<SocketAddr>().unwrap());
    assert_eq!(
        (answer[0], &answer[4..8]),
        (2, &[0xAA, 0xBB, 0xCC, client][..])
    );
    assert_eq!(
        (&answer[28..34], &answer[236..240]),
        (&[2, 0, 0, 0, 0, client][..], &[99, 130, 83, 99][..])
    );
    let mut options = Vec::new();
    let mut at = 240;
    while answer[at] != 255 {
        let length = usize::from(answer[at + 1]);
        options.push((answer[at], answer[at + 2..at + 2 + length].to_vec()));
        at += 2 + length;
    }
    let kind = options.iter().find(|(code, _)| *code == 53).unwrap().1[0];
    Some((kind, answer[16..20].try_into().unwrap(), options))
}

#[test]
fn a_telephone_gets_an_address_and_no_router() {
    let street = Street::default();
    serving(&street, async |device| {
        device.is_access_point("meter");
        pause(10).await;
        let (kind, offered, _) = ask(&street, packet(1, DISCOVER, None)).await.unwrap();
        assert_eq!((kind, offered), (OFFER, [192, 168, 4, 2]));
        let (kind, given, options) = ask(&street, packet(1, REQUEST, Some(offered)))
            .await
            .unwrap();
        assert_eq!((kind, given), (ACK, offered));
        let option = |code: u8| {
            options
                .iter()
                .find(|(is, _)| *is == code)
                .map(|(_, value)| &value[..])
        };
        assert_eq!(option(1), Some(&[255, 255, 255, 0][..]));
        assert_eq!(option(54), Some(&[192, 168, 4, 1][..]));
        assert_eq!(option(51), Some(&600_u32.to_be_bytes()[..]));
        assert_eq!((option(3), option(6)), (None, None));
        // The same again for the same, another for another; one of another network is refused.
        assert_eq!(
            ask(&street, packet(1, DISCOVER, None)).await.unwrap().1,
            offered
        );
        assert_eq!(
            ask(&street, packet(2, DISCOVER, None)).await.unwrap().1,
            [192, 168, 4, 3]
        );
        assert_eq!(
            ask(&street, packet(3, REQUEST, Some([192, 168, 0, 9])))
                .await
                .unwrap()
                .0,
            NAK
        );
        assert_eq!(
            ask(&street, packet(3, REQUEST, Some(offered)))
                .await
                .unwrap()
                .0,
            NAK
        );
    });
}

#[test]
fn when_all_are_taken_the_next_client_waits_for_one_to_be_old() {
    let street = Street::default();
    serving(&street, async |device| {
        device.is_access_point("meter");
        pause(10).await;
        for client in 1..=4 {
            let (_, offered, _) = ask(&street, packet(client, DISCOVER, None)).await.unwrap();
            let (kind, ..) = ask(&street, packet(client, REQUEST, Some(offered)))
                .await
                .unwrap();
            assert_eq!(kind, ACK);
        }
        assert_eq!(ask(&street, packet(5, DISCOVER, None)).await, None);
        pause(602_000).await;
        let (_, offered, _) = ask(&street, packet(5, DISCOVER, None)).await.unwrap();
        let (kind, ..) = ask(&street, packet(5, REQUEST, Some(offered)))
            .await
            .unwrap();
        assert_eq!(kind, ACK);
    });
}

#[test]
fn nobody_is_served_in_another_network_and_nonsense_does_no_harm() {
    let street = Street::default();
    serving(&street, async |device| {
        device.is_off_air();
        pause(10).await;
        device.is_access_point("meter");
        pause(10).await;
        let whole = packet(1, DISCOVER, None);
        for length in 0..whole.len() {
            street.push(whole[..length].to_vec(), "0.0.0.0:68".parse().unwrap());
            pause(1).await;
        }
        for (at, byte) in
            (0..whole.len()).flat_map(|at| [0, 1, 7, 0x7F, 255].map(|byte| (at, byte)))
        {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            street.push(damaged, "0.0.0.0:68".parse().unwrap());
            pause(1).await;
        }
        street.sent();
        // A broken network is tried again.
        street.is_broken(true);
        assert_eq!(ask(&street, packet(2, DISCOVER, None)).await, None);
        street.is_broken(false);
        pause(2_000).await;
        street.sent();
        assert!(ask(&street, packet(2, DISCOVER, None)).await.is_some());
        let link = Link {
            ssid: "home".try_into().unwrap(),
            ..Link::default()
        };
        device.is_in_network(link, [192, 168, 4, 1].into());
        pause(10).await;
        device.set_address(Some([192, 168, 4, 7].into()));
        pause(10).await;
        device.set_address(Some([192, 168, 4, 1].into()));
        street.push(packet(3, DISCOVER, None), "0.0.0.0:68".parse().unwrap());
        pause(1_000).await;
        assert!(street.sent().is_empty());
    });
}

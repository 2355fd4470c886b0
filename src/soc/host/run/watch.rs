//! A subscriber: shows what another board publishes, as the broker hands it on.

use core::{convert::Infallible, net::SocketAddr};
use std::{boxed::Box, format, vec};

use edge_nal::{AddrType, Dns, TcpConnect};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embassy_time::{Duration, Timer};
use minimq::{Buffers, ConfigBuilder, Session, SubscriptionOptions, TopicFilter};

use super::view::View;
use crate::{
    app::{
        monitor::Monitor,
        publisher::{OFFLINE, STATUS},
    },
    settings::Settings,
    soc::host::net::Net,
};

/// Pause before the broker is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The largest packet: one telegram's longest list.
const PACKET: usize = 64 * 1024;

/// Says that the board is known to be offline.
pub type Gone = Signal<NoopRawMutex, ()>;

/// Shows all that is published below the root of the settings, for ever.
pub async fn watch(settings: &Settings, name: &str, view: &View, gone: &Gone) -> Infallible {
    loop {
        // The board meets the same broker, and its troubles are told.
        let _: Result<Infallible, _> = session(settings, name, view, gone).await;
        Timer::after(RETRY).await;
    }
}

async fn session(
    settings: &Settings,
    name: &str,
    view: &View,
    gone: &Gone,
) -> Result<Infallible, Box<dyn std::error::Error>> {
    let host = &settings.mqtt_server;
    let address = Net.get_host_by_name(host, AddrType::Either).await?;
    let stream = Net
        .connect(SocketAddr::new(address, settings.mqtt_port))
        .await?;
    let (mut rx, mut tx) = (vec![0; PACKET], [0; 512]);
    let id = format!("{name}-view");
    let mut config = ConfigBuilder::new(Buffers::new(&mut rx, &mut tx)).client_id(&id)?;
    if !settings.mqtt_user.is_empty() {
        config = config.auth(&settings.mqtt_user, settings.mqtt_password.as_bytes())?;
    }
    let mut session = Session::new(config);
    let mut link = session.connect(stream).await?;
    let status = format!("{}{STATUS}", settings.root);
    let filter = format!("{}/#", settings.root);
    let options = SubscriptionOptions::default().retain_as_published();
    link.subscribe(&[TopicFilter::new(&filter).options(options)], &[])
        .await?;
    loop {
        let message = link.recv().await?;
        view.published(message.topic(), message.payload(), message.retained());
        if message.topic() == status {
            match message.payload() == OFFLINE {
                true => gone.signal(()),
                false => gone.reset(),
            }
        }
    }
}

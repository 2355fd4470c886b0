//! Wi-Fi: the networks that a device knows, and in which order it tries those that it finds.

use core::net::Ipv4Addr;

use crate::settings::Text;

/// Networks that a device can know.
pub const NETWORKS: usize = 5;

/// The address of the access point that a device opens.
pub const ACCESS_POINT: Ipv4Addr = Ipv4Addr::new(192, 168, 4, 1);

/// The name of a network (IEEE 802.11 §9.4.2.2).
pub type Ssid = Text<32>;

/// The password of a network; empty for an open one.
pub type Password = Text<63>;

/// The networks that a device knows, by their place in flash. Passwords stay there until one is needed.
/// RAM: 0.2 kB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Empty where there is none.
    ssids: [Ssid; NETWORKS],
    /// Whether there is a password.
    secured: [bool; NETWORKS],
}

impl Known {
    /// The place of a network.
    pub fn find(&self, ssid: &[u8]) -> Option<u8> {
        self.place(|known| !ssid.is_empty() && known.as_bytes() == ssid)
    }

    /// A place for one more.
    pub fn free(&self) -> Option<u8> {
        self.place(|known| known.is_empty())
    }

    fn place(&self, is: impl Fn(&str) -> bool) -> Option<u8> {
        let place = self.ssids.iter().position(|ssid| is(ssid));
        place.and_then(|place| u8::try_from(place).ok())
    }

    /// The name of the network at a place; empty when there is none.
    pub fn ssid(&self, place: u8) -> Ssid {
        self.ssids
            .get(usize::from(place))
            .cloned()
            .unwrap_or_default()
    }

    /// Whether the network at a place has a password.
    pub fn is_secured(&self, place: u8) -> bool {
        self.secured.get(usize::from(place)) == Some(&true)
    }

    /// The names, in the order of their places.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.ssids.iter().map(Ssid::as_str);
        names.filter(|ssid| !ssid.is_empty())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names().next().is_none()
    }

    /// Puts a network at a place, or takes it away with an empty name.
    pub fn name(&mut self, place: u8, ssid: Ssid) {
        if let Some(known) = self.ssids.get_mut(usize::from(place)) {
            *known = ssid;
        }
    }

    /// Whether the network at a place has a password.
    pub fn secure(&mut self, place: u8, secured: bool) {
        if let Some(known) = self.secured.get_mut(usize::from(place)) {
            *known = secured;
        }
    }
}

/// What is seen of a network when one looks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its name, which may be any bytes.
    pub ssid: &'a [u8],
    /// Its access point.
    pub bssid: [u8; 6],
    /// How strong it is, in dBm.
    pub rssi: i8,
    /// The channel that it is on.
    pub channel: u8,
    /// Whether it wants a password.
    pub is_secured: bool,
}

/// A known network that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its place among the [`Known`].
    pub place: u8,
    /// Its strongest access point.
    pub bssid: [u8; 6],
    /// How strong that is, in dBm.
    pub rssi: i8,
    /// The channel that it is on.
    pub channel: u8,
    /// Whether it wants a password.
    pub is_secured: bool,
}

/// The known networks that were found, one for each. RAM: 60 bytes.
#[derive(Debug, Clone, Default)]
pub struct Candidates(heapless::Vec<Candidate, NETWORKS>);

impl Candidates {
    /// Takes a network that was found, if it is known: of several access points the strongest.
    ///
    /// One with a password is not the same as one of that name without: whoever opens a network called like
    /// somebody's own would be told all that the device has to say.
    pub fn take(&mut self, known: &Known, found: &Found<'_>) {
        let Some(place) = known.find(found.ssid) else {
            return;
        };
        let candidate = Candidate {
            place,
            bssid: found.bssid,
            rssi: found.rssi,
            channel: found.channel,
            is_secured: found.is_secured,
        };
        let fits = |candidate: &Candidate| candidate.is_secured == known.is_secured(place);
        match self.0.iter_mut().find(|other| other.place == place) {
            Some(other) => {
                let key = |candidate: &Candidate| (fits(candidate), candidate.rssi);
                if key(&candidate) > key(other) {
                    *other = candidate;
                }
            }
            // There is a place for each.
            None => _ = self.0.push(candidate),
        }
    }

    /// Takes the strongest out.
    pub fn strongest(&mut self) -> Option<Candidate> {
        let candidates = self.0.iter().enumerate();
        let (index, _) = candidates.max_by_key(|(_, candidate)| candidate.rssi)?;
        Some(self.0.swap_remove(index))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn known(networks: &[(&str, bool)]) -> Known {
        let mut known = Known::default();
        for (place, (ssid, secured)) in networks.iter().enumerate() {
            known.name(place as u8, Ssid::try_from(*ssid).unwrap());
            known.secure(place as u8, *secured);
        }
        known
    }

    fn found(ssid: &str, last: u8, rssi: i8, is_secured: bool) -> Found<'_> {
        Found {
            ssid: ssid.as_bytes(),
            bssid: [2, 0, 0, 0, 0, last],
            rssi,
            channel: 6,
            is_secured,
        }
    }

    fn order(known: &Known, networks: &[Found<'_>]) -> Vec<(u8, u8)> {
        let mut candidates = Candidates::default();
        for found in networks {
            candidates.take(known, found);
        }
        let order = core::iter::from_fn(|| candidates.strongest());
        order
            .map(|candidate| (candidate.place, candidate.bssid[5]))
            .collect()
    }

    #[test]
    fn the_strongest_known_network_comes_first_by_its_strongest_access_point() {
        let known = known(&[("home", true), ("shed", true), ("away", true)]);
        let networks = [
            found("home", 1, -80, true),
            found("neighbour", 2, -30, true),
            found("shed", 3, -60, true),
            found("home", 4, -50, true),
            found("home", 5, -90, true),
        ];
        assert_eq!(order(&known, &networks), [(0, 4), (1, 3)]);
        assert_eq!(order(&known, &[]), []);
        assert_eq!(order(&Known::default(), &[found("", 1, -20, false)]), []);
    }

    #[test]
    fn a_network_that_lacks_its_password_is_the_last_of_its_name() {
        let known = known(&[("home", true)]);
        let evil = found("home", 1, -20, false);
        assert_eq!(
            order(&known, &[evil, found("home", 2, -80, true)]),
            [(0, 2)]
        );
        assert_eq!(
            order(&known, &[found("home", 2, -80, true), evil]),
            [(0, 2)]
        );
        // It is known that it was there.
        assert_eq!(order(&known, &[evil]), [(0, 1)]);
    }

    #[test]
    fn places_are_found_and_used_again() {
        let mut known = known(&[
            ("a", false),
            ("b", true),
            ("c", false),
            ("d", false),
            ("e", true),
        ]);
        assert_eq!((known.find(b"b"), known.free()), (Some(1), None));
        assert_eq!((known.find(b""), known.find(b"f")), (None, None));
        known.name(1, Ssid::new());
        assert_eq!((known.find(b"b"), known.free()), (None, Some(1)));
        assert_eq!(known.names().collect::<Vec<_>>(), ["a", "c", "d", "e"]);
        assert!(!known.is_empty() && Known::default().is_empty());
    }
}

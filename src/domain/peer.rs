//! Peer ports and peer addresses.

use std::{cmp::Ordering, fmt, net::Ipv4Addr, num::NonZeroU16};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::api::names::DEFAULT_PEER_PORT;

/// A port on which a validator is reached: 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerPort(NonZeroU16);

/// A value that is no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to 65535, but is {0}")]
pub struct InvalidPort(pub String);

impl PeerPort {
    /// stellar-core's own default, 11625.
    pub const DEFAULT: Self = match NonZeroU16::new(DEFAULT_PEER_PORT) {
        Some(port) => Self(port),
        None => panic!("the default port is not 0"),
    };

    /// # Errors
    /// [`InvalidPort`] outside 1 to 65535.
    pub fn new(port: i64) -> Result<Self, InvalidPort> {
        u16::try_from(port)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| InvalidPort(port.to_string()))
    }

    /// From a StellarNode: a JSON number. Text is refused, as the schema of the kind refuses it.
    ///
    /// # Errors
    /// [`InvalidPort`] with the value as it stands there.
    pub fn from_spec(value: &Value) -> Result<Self, InvalidPort> {
        let shown = || InvalidPort(value.to_string().chars().take(80).collect());
        value.as_i64().ok_or_else(shown).and_then(Self::new)
    }

    /// From an annotation: decimal digits.
    ///
    /// # Errors
    /// [`InvalidPort`] with the text as it stands there.
    pub fn from_annotation(text: &str) -> Result<Self, InvalidPort> {
        let port = text
            .trim()
            .parse::<i64>()
            .ok()
            .and_then(|port| Self::new(port).ok());
        port.ok_or_else(|| InvalidPort(format!("{:?}", text.chars().take(80).collect::<String>())))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PeerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a peer is: what stellar-core can resolve.
///
/// Source: stellar-core's `PeerBareAddress::resolve` knows IPv4 and host names, and no IPv6. The order of the
/// variants and of the numbers is the order of the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IPv4 address; sorted by number.
    Ip(Ipv4Addr),
    /// A DNS name: ASCII letters, digits, `-` and `.`.
    Name(String),
}

impl Host {
    /// # Errors
    /// [`InvalidPeerAddress`] for text that stellar-core would not take as a host.
    pub fn new(text: &str) -> Result<Self, InvalidPeerAddress> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        let numeric = |c: char| c.is_ascii_digit() || c == '.';
        if text.is_empty()
            || text.len() > 253
            || !text.chars().all(allowed)
            || text.chars().all(numeric)
        {
            return Err(InvalidPeerAddress(text.chars().take(300).collect()));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// `address:port` of one pod, as a line of the list has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    host: Host,
    port: PeerPort,
}

/// Text that is no `address:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no peer address: stellar-core takes an IPv4 address or a host name, and a port")]
pub struct InvalidPeerAddress(String);

impl PeerAddress {
    /// Every pair of a host and a port is an address.
    #[must_use]
    pub const fn new(host: Host, port: PeerPort) -> Self {
        Self { host, port }
    }

    /// Reads `address:port`.
    ///
    /// # Errors
    /// [`InvalidPeerAddress`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidPeerAddress> {
        let invalid = || InvalidPeerAddress(text.chars().take(300).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port
            .parse::<i64>()
            .ok()
            .and_then(|port| PeerPort::new(port).ok());
        Ok(Self {
            host: Host::new(host)?,
            port: port.ok_or_else(invalid)?,
        })
    }

    /// Where the peer is.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port at which it listens.
    #[must_use]
    pub const fn port(&self) -> PeerPort {
        self.port
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => f.write_str(Digits::of(*ip, self.port).as_str()),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// The text of an IPv4 address and a port. Made by hand: each pass writes each address twice, and the standard
/// library's formatting takes several times as long.
struct Digits {
    bytes: [u8; Self::MOST],
    length: usize,
}

impl Digits {
    /// As long as the longest, `255.255.255.255:65535`.
    const MOST: usize = 21;

    fn of(ip: Ipv4Addr, port: PeerPort) -> Self {
        let mut digits = Self {
            bytes: [0; Self::MOST],
            length: 0,
        };
        let [a, b, c, d] = ip.octets();
        for octet in [a, b, c] {
            digits.number(octet.into());
            digits.push(b'.');
        }
        digits.number(d.into());
        digits.push(b':');
        digits.number(port.get());
        digits
    }

    fn number(&mut self, number: u16) {
        for unit in [10_000, 1_000, 100, 10] {
            if number >= unit {
                self.digit(number / unit % 10);
            }
        }
        self.digit(number % 10);
    }

    fn digit(&mut self, digit: u16) {
        self.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).expect("digits, dots and a colon are text")
    }
}

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Ord for PeerAddress {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.host, self.port).cmp(&(&other.host, other.port))
    }
}

impl PartialOrd for PeerAddress {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_written_as_the_standard_library_does(octets: [u8; 4], port in 1_u16..) {
            let (ip, port) = (Ipv4Addr::from(octets), PeerPort::new(port.into()).unwrap());
            let address = PeerAddress::new(Host::Ip(ip), port);
            prop_assert_eq!(address.to_string(), format!("{ip}:{port}"));
        }
    }

    #[test]
    fn addresses_sort_by_number_and_names_come_last() {
        let mut lines = [
            "b.x.svc:1",
            "10.0.0.10:11625",
            "10.0.0.9:11625",
            "a.x.svc:1",
            "10.0.0.9:80",
        ]
        .map(|line| PeerAddress::parse(line).unwrap());
        lines.sort();
        let sorted = lines.map(|line| line.to_string());
        assert_eq!(
            sorted,
            [
                "10.0.0.9:80",
                "10.0.0.9:11625",
                "10.0.0.10:11625",
                "a.x.svc:1",
                "b.x.svc:1"
            ]
        );
    }

    #[test]
    fn what_stellar_core_cannot_dial_is_no_address() {
        for bad in [
            "",
            "10.0.0.1",
            "10.0.0.1:0",
            "10.0.0.1:65536",
            "[::1]:1",
            "::1:1",
            "a b:1",
            "a\n:1",
            "1.2.3:1",
        ] {
            assert!(PeerAddress::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_port_is_a_number_in_a_spec_and_digits_in_an_annotation() {
        assert_eq!(PeerPort::from_spec(&json!(11625)), Ok(PeerPort::DEFAULT));
        for bad in [
            json!("11625"),
            json!(0),
            json!(65536),
            json!(-1),
            json!(1.5),
            json!({}),
        ] {
            assert!(PeerPort::from_spec(&bad).is_err(), "{bad}");
        }
        assert_eq!(PeerPort::from_annotation("11625"), Ok(PeerPort::DEFAULT));
        assert!(PeerPort::from_annotation("http").is_err());
    }
}

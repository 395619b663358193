//! An endpoint: address, transport and port, the unit that a verdict is about.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One address, transport and port. Prints as `198.18.0.1:80/tcp`, `[2001:db8::1]:80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub address: IpAddr,
    pub transport: Transport,
    pub port: u16,
}

impl Endpoint {
    pub const fn new(address: IpAddr, transport: Transport, port: u16) -> Self {
        Self { address, transport, port }
    }

    pub const fn tcp(address: IpAddr, port: u16) -> Self {
        Self::new(address, Transport::Tcp, port)
    }

    pub const fn udp(address: IpAddr, port: u16) -> Self {
        Self::new(address, Transport::Udp, port)
    }

    pub const fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.socket_addr(), self.transport)
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseEndpointError { text: text.to_owned() };
        let (socket, transport) = text.rsplit_once('/').ok_or_else(error)?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(error()),
        };
        let socket: SocketAddr = socket.parse().map_err(|_| error())?;
        Ok(Self::new(socket.ip(), transport, socket.port()))
    }
}

/// Transport protocol of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that is no `ADDRESS:PORT/tcp` or `[ADDRESS]:PORT/udp`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no endpoint; hint: write ADDRESS:PORT/tcp, for IPv6 [ADDRESS]:PORT/tcp")]
pub struct ParseEndpointError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_both_families() {
        for text in ["198.18.0.1:80/tcp", "[2001:db8::1]:5353/udp"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_endpoint() {
        for text in ["", "198.18.0.1", "198.18.0.1:80", "198.18.0.1:80/sctp", "2001:db8::1:80/tcp", "h:1/tcp"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}

//! How single values of the command line are read.

use std::net::IpAddr;
use std::str::FromStr;

use crate::model::Endpoint;

/// `198.18.0.1:2379/tcp`; TCP where no transport is named.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    let with_transport = if text.contains('/') { text.to_owned() } else { format!("{text}/tcp") };
    match with_transport.parse::<Endpoint>() {
        Ok(endpoint) if endpoint.port > 0 => Ok(endpoint),
        Ok(_) => Err("port 0 is no port (RFC 6335, section 6); hint: 1 to 65535".to_owned()),
        Err(_) => Err(format!(
            "`{text}` is no endpoint; hint: an address and a port, 198.18.0.1:2379/tcp or [2001:db8::1]:111/udp"
        )),
    }
}

/// An address without a port.
pub fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is no address; hint: 198.18.0.2 or 2001:db8::2, without a port"))
}

/// Between 0 and 1.
pub fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| *share > 0.0 && *share < 1.0)
        .ok_or_else(|| format!("`{text}` is no share; hint: a number between 0 and 1, such as 0.999"))
}

/// A whole number above 0.
pub fn number<N: FromStr + Default + PartialOrd>(text: &str) -> Result<N, String> {
    text.parse()
        .ok()
        .filter(|number| *number > N::default())
        .ok_or_else(|| format!("`{text}` is no whole number above 0; hint: leave the option out for what is usual"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_test_takes_an_endpoint_without_transport() {
        assert_eq!(endpoint("127.0.0.1:2379").unwrap().to_string(), "127.0.0.1:2379/tcp");
        assert_eq!(endpoint("[::1]:111/udp").unwrap().to_string(), "[::1]:111/udp");
        // What was written is named, not what was made of it.
        for wrong in ["etcd", "198.18.0.1", "2001:db8::1:80", "198.18.0.1:80/sctp"] {
            assert!(endpoint(wrong).unwrap_err().starts_with(&format!("`{wrong}`")), "{wrong}");
        }
        assert!(endpoint("198.18.0.1:0").unwrap_err().contains("1 to 65535"));
    }
}

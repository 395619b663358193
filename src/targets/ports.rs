//! PORTS: `22,80,8000-8100`, `all`, `probes`, or several of them. Pure.

use crate::model::PortRanges;
use crate::model::port_ranges::ParsePortRangesError;

/// Parses PORTS; `probes` stands for the ports given here. `all` is 1 to 65535: port 0 is reserved (RFC 6335 section 6)
/// and cannot be connected to.
pub fn parse(text: &str, probes: &PortRanges) -> Result<PortRanges, PortsError> {
    let mut ports = PortRanges::default();
    for item in text.split(',').map(str::trim) {
        let more = match item {
            "all" => PortRanges::from_ranges([(1, u16::MAX)]),
            "probes" => probes.clone(),
            "" => return Err(PortsError::Empty { text: text.to_owned() }),
            item => item
                .parse()
                .map_err(|error: ParsePortRangesError| PortsError::Item { item: error.item().to_owned() })?,
        };
        ports = ports.union(&more);
    }
    if ports.contains(0) {
        return Err(PortsError::Zero { text: text.to_owned() });
    }
    Ok(ports)
}

/// PORTS that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortsError {
    #[error("an empty item in ports `{text}`; hint: write 22,80,8000-8100, `all`, `probes` or `none`")]
    Empty { text: String },
    #[error(
        "`{item}` is no port and no range of ports; hint: 22,80,8000-8100 (1 to 65535, the smaller first), `all`, `probes`; \
         `none` stands alone"
    )]
    Item { item: String },
    #[error("port 0 in ports `{text}` cannot be asked (RFC 6335, section 6); hint: ports are 1 to 65535")]
    Zero { text: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_sets() {
        let probes = PortRanges::from_ports([2379, 10250]);
        assert_eq!(parse("probes,80", &probes).unwrap().to_string(), "80,2379,10250");
        assert_eq!(parse("all", &probes).unwrap().len(), 65_535);
        assert_eq!(parse("22, 8000-8001", &probes).unwrap().to_string(), "22,8000-8001");
    }

    #[test]
    fn refuses_nothing_zero_and_nonsense() {
        let probes = PortRanges::default();
        for text in ["", "22,", "0", "0-10", "http", "22;23", "70000", "9-1"] {
            assert!(parse(text, &probes).unwrap_err().to_string().contains("hint"), "{text}");
        }
    }
}

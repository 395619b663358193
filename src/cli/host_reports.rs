//! Where host reports come from: files, stdin, machines over ssh.

use std::net::IpAddr;
use std::path::PathBuf;

use super::usage::UsageError;
use crate::host::remote::SshDestination;

/// A host report given by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReportSource {
    /// The address that it is of, when the operator says so.
    pub address: Option<IpAddr>,
    pub from: ReportFrom,
}

/// Where a host report is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportFrom {
    /// `-` is stdin.
    File(PathBuf),
    /// To be taken on the machine itself.
    Ssh(SshDestination),
}

impl HostReportSource {
    /// Reads the values of `--host-report`.
    pub fn from_args(args: &[String]) -> Result<Vec<Self>, UsageError> {
        args.iter()
            .map(|text| {
                let (address, place) = address_and_place(text);
                let from = if place.starts_with(SshDestination::SCHEME) {
                    ReportFrom::Ssh(destination(place)?)
                } else if place.is_empty() {
                    return Err(UsageError::NoFile { value: text.clone() });
                } else {
                    ReportFrom::File(PathBuf::from(place))
                };
                Ok(Self { address, from })
            })
            .collect()
    }

    pub fn is_stdin(&self) -> bool {
        matches!(&self.from, ReportFrom::File(path) if path.as_os_str() == "-")
    }

    /// Where it is taken over ssh.
    pub const fn destination(&self) -> Option<&SshDestination> {
        match &self.from {
            ReportFrom::Ssh(destination) => Some(destination),
            ReportFrom::File(_) => None,
        }
    }
}

/// Reads where a machine is.
pub fn destination(value: &str) -> Result<SshDestination, UsageError> {
    value.parse().map_err(|problem| UsageError::Ssh { value: value.to_owned(), problem })
}

/// stdin is read once.
pub fn once_from_stdin(host_reports: &[HostReportSource]) -> Result<(), UsageError> {
    if host_reports.iter().filter(|source| source.is_stdin()).count() > 1 {
        return Err(UsageError::TwiceFromStdin { options: "two --host-report".to_owned() });
    }
    Ok(())
}

/// Splits `[ADDRESS=]FROM`: the part in front counts only when it is an address.
fn address_and_place(text: &str) -> (Option<IpAddr>, &str) {
    match text.split_once('=') {
        Some((address, file)) => match address.parse() {
            Ok(address) => (Some(address), file),
            Err(_) => (None, text),
        },
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[&str]) -> Result<Vec<HostReportSource>, UsageError> {
        HostReportSource::from_args(&given.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_address_in_front_of_a_host_report_is_split_off() {
        let address = Some("198.18.0.7".parse().unwrap());
        assert_eq!(address_and_place("198.18.0.7=web.txt"), (address, "web.txt"));
        assert_eq!(address_and_place("web=7.txt"), (None, "web=7.txt"));
        assert_eq!(address_and_place("2001:db8::7=-").0, Some("2001:db8::7".parse().unwrap()));
    }

    #[test]
    fn files_and_machines_are_told_apart() {
        let sources = read(&["ssh://ops@web", "198.18.0.7=ssh://db:2222", "a=b"]).unwrap();
        let [web, db, file] = &sources[..] else { panic!("{sources:?}") };
        assert_eq!((web.address, web.destination().unwrap().user()), (None, Some("ops")));
        assert_eq!((db.address, db.destination().unwrap().port()), ("198.18.0.7".parse().ok(), Some(2222)));
        assert_eq!(file.from, ReportFrom::File(PathBuf::from("a=b")));
        assert!(matches!(read(&["ssh://-oX"]), Err(UsageError::Ssh { .. })));
        assert!(matches!(read(&["198.18.0.7="]), Err(UsageError::NoFile { .. })));
        assert!(matches!(
            once_from_stdin(&read(&["-", "a=b", "198.18.0.7=-"]).unwrap()),
            Err(UsageError::TwiceFromStdin { .. })
        ));
    }
}

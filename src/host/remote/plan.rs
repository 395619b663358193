//! What a machine has, and so how its report is taken. Pure.

use super::failure::Failure;

/// What the script found out before it was told to do anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// `uname -s` and `uname -m`.
    pub system: String,
    pub machine: String,
    pub uid: Option<u32>,
    pub user: String,
    pub sudo: Sudo,
    /// Path of a `postern` that is installed there, with its version.
    pub installed: Option<(String, String)>,
}

/// Whether commands may be run as root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sudo {
    /// It is root already.
    Needless,
    /// `sudo -n true` works.
    Allowed,
    /// sudo wants a password, or refuses.
    Refused,
    #[default]
    Absent,
}

/// One way to a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run the `postern` that is installed.
    Installed,
    /// Copy the program at this position of [`Offer::programs`], and run it.
    Copy(usize),
    /// Plain commands.
    Plain,
}

/// What this side may do and has to give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Plain commands only.
    pub agentless: bool,
    /// Programs that could be copied: for each whether it fits the machine, and its name for messages.
    pub programs: Vec<(bool, String)>,
}

impl Probe {
    pub fn parse(body: &str) -> Self {
        let value = |key: &str| {
            let line = body.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim().chars().take(MOST).collect::<String>()
        };
        let (program, version) = (value("program"), value("version"));
        // Other programs have that name, too.
        let version =
            version.strip_prefix("postern ").filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
        let installed =
            version.filter(|_| program.starts_with('/')).map(|version| (program.clone(), version.to_owned()));
        Self {
            system: value("system"),
            machine: value("machine"),
            uid: value("uid").parse().ok(),
            user: value("user"),
            sudo: match value("sudo").as_str() {
                "needless" => Sudo::Needless,
                "allowed" => Sudo::Allowed,
                "refused" => Sudo::Refused,
                _ => Sudo::Absent,
            },
            installed,
        }
    }

    /// Plain commands run as root.
    pub fn is_root(&self) -> bool {
        matches!(self.sudo, Sudo::Needless | Sudo::Allowed)
    }
}

/// The ways to try, best first.
pub fn steps(probe: &Probe, offer: &Offer) -> Result<Vec<Step>, Failure> {
    if probe.system != "Linux" {
        return Err(Failure::System(probe.system.clone()));
    }
    let mut steps = Vec::new();
    if !offer.agentless {
        steps.extend(probe.installed.is_some().then_some(Step::Installed));
        steps.extend(offer.programs.iter().position(|(fits, _)| *fits).map(Step::Copy));
    }
    steps.push(Step::Plain);
    Ok(steps)
}

/// Why no program could be copied, for the gap of a report that was taken with plain commands.
pub fn nothing_to_copy(probe: &Probe, offer: &Offer) -> String {
    let names: Vec<&str> = offer.programs.iter().map(|(_, name)| name.as_str()).collect();
    if names.is_empty() {
        return format!("this postern is no static program, so there is none to copy to a {} machine", probe.machine);
    }
    format!("no program to copy is for a {} machine: {}", probe.machine, names.join(", "))
}

const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "system=Linux\nmachine=x86_64\nuid=1000\nuser=ops\nsudo=refused\nprogram=/usr/bin/postern\nversion=postern 0.1.0\n";

    #[test]
    fn a_probe_is_read_line_by_line() {
        let probe = Probe::parse(BODY);
        assert_eq!((probe.uid, probe.sudo, probe.is_root()), (Some(1000), Sudo::Refused, false));
        assert_eq!(probe.installed, Some(("/usr/bin/postern".to_owned(), "0.1.0".to_owned())));
        assert_eq!(Probe::parse("nonsense\nuid=x\n"), Probe::default());
    }

    #[test]
    fn another_program_of_that_name_is_not_taken_for_ours() {
        for version in ["", "Postern 2", "postern: unknown option", "postern vpn"] {
            assert_eq!(Probe::parse(&BODY.replace("postern 0.1.0", version)).installed, None, "{version}");
        }
        assert_eq!(Probe::parse(&BODY.replace("/usr/bin/postern", "alias postern")).installed, None);
    }

    #[test]
    fn the_best_way_comes_first() {
        let probe = Probe::parse(BODY);
        let programs = vec![(false, "arm".to_owned()), (true, "intel".to_owned())];
        let offer = Offer { agentless: false, programs };
        assert_eq!(steps(&probe, &offer).unwrap(), [Step::Installed, Step::Copy(1), Step::Plain]);
        assert_eq!(steps(&probe, &Offer { agentless: true, ..offer.clone() }).unwrap(), [Step::Plain]);
        let bare = Probe { installed: None, ..probe.clone() };
        assert_eq!(steps(&bare, &Offer::default()).unwrap(), [Step::Plain]);
        let mac = Probe { system: "Darwin".to_owned(), ..probe };
        assert_eq!(steps(&mac, &offer), Err(Failure::System("Darwin".to_owned())));
    }
}

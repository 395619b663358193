//! Driver: takes the reports of machines over ssh, several at a time. One machine's failure is that machine's result.
#![expect(clippy::disallowed_methods, reason = "driver: reads the head of the programs that may be copied")]

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::config::UserConfig;
use super::elf::Program;
use super::failure::Failure;
use super::frames::Frame;
use super::plain::{self, Sections};
use super::plan::{self, Offer, Probe, Step, Sudo};
use super::private_dir::PrivateDir;
use super::session::{Door, Session};
use super::{RemoteError, SshDestination, config, script};
use crate::host::{self, ReadError};
use crate::model::HostReport;
use crate::model::report::Gap;

/// How reports are taken over ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSettings {
    /// In place of `~/.ssh/config` and `/etc/ssh/ssh_config`.
    pub ssh_config: Option<PathBuf>,
    /// Plain commands only: nothing of ours is run there.
    pub agentless: bool,
    /// Programs that may be copied, for the machines that they fit, before this program itself.
    pub static_binaries: Vec<PathBuf>,
    /// Machines at a time.
    pub parallel: usize,
    /// For one machine, log-in included.
    pub limit: Duration,
}

/// Takes reports. What it keeps on disk, ssh's configuration, goes with it.
#[derive(Debug)]
pub struct Collector {
    directory: PrivateDir,
    programs: Vec<LocalProgram>,
    settings: RemoteSettings,
}

/// A program that could be copied.
#[derive(Debug)]
struct LocalProgram {
    path: PathBuf,
    size: u64,
    program: Program,
}

impl Collector {
    /// # Errors
    /// [`Failure::Local`]: a file that was named cannot be used, or there is no place for the configuration.
    pub fn new(settings: RemoteSettings) -> Result<Self, Failure> {
        let mut programs = Vec::new();
        for path in &settings.static_binaries {
            programs.push(LocalProgram::load(path)?);
        }
        // Itself, where it is a program that runs anywhere.
        programs.extend(LocalProgram::load(Path::new(OWN_PROGRAM)).ok().filter(|own| !own.program.is_dynamic));
        let no_place = |error| Failure::Local(format!("cannot write ssh's configuration: {error}"));
        let directory = PrivateDir::new(&format!("postern-ssh-{}", random())).map_err(no_place)?;
        let user = match &settings.ssh_config {
            None => UserConfig::Usual,
            Some(file) => {
                let named = |error| Failure::Local(format!("cannot read {}: {error}", file.display()));
                File::open(file).map_err(named)?;
                directory.link(USER_FILE, file).map_err(named)?;
                UserConfig::File(directory.path(USER_FILE))
            }
        };
        directory.write(CONFIG_FILE, &config::text(&user)).map_err(no_place)?;
        Ok(Self { directory, programs, settings })
    }

    /// The reports of all `destinations`, in their order. `now` is what a report says that cannot tell by itself;
    /// `cancelled` ends everything that is under way.
    pub async fn take_all(
        self: &Arc<Self>,
        destinations: &[SshDestination],
        now: jiff::Timestamp,
        cancelled: &Arc<AtomicBool>,
    ) -> Vec<Result<HostReport, RemoteError>> {
        let turns = Arc::new(Semaphore::new(self.settings.parallel.max(1)));
        let mut running = JoinSet::new();
        for (position, destination) in destinations.iter().enumerate() {
            let (this, turns, cancelled) = (Arc::clone(self), Arc::clone(&turns), Arc::clone(cancelled));
            let destination = destination.clone();
            running.spawn(async move {
                let _turn = turns.acquire_owned().await;
                (position, this.take(&destination, now, &cancelled).await)
            });
        }
        let mut results: Vec<Result<HostReport, Failure>> =
            destinations.iter().map(|_| Err(Failure::Interrupted)).collect();
        while let Some(ended) = running.join_next().await {
            if let Ok((position, result)) = ended {
                results[position] = result;
            }
        }
        let named = |(result, destination): (Result<_, _>, &SshDestination)| {
            result.map_err(|failure| RemoteError { destination: destination.clone(), failure })
        };
        results.into_iter().zip(destinations).map(named).collect()
    }

    /// The report of a sweep that `destination` makes by `job`, one line of JSON: the text that `postern look` printed
    /// there. Takes as long as the sweep does; `cancelled` ends it there too, without a report.
    ///
    /// # Errors
    /// As for reports, and where there is neither a `postern` that looks nor a program to copy.
    pub async fn look(
        &self,
        destination: &SshDestination,
        job: &str,
        cancelled: &AtomicBool,
    ) -> Result<String, Failure> {
        // A report of its own says when it was taken.
        let look = Look { collector: self, destination, now: jiff::Timestamp::UNIX_EPOCH };
        tokio::select! {
            result = look.look(job) => result,
            () = raised(cancelled) => Err(Failure::Interrupted),
        }
    }

    async fn take(
        &self,
        destination: &SshDestination,
        now: jiff::Timestamp,
        cancelled: &AtomicBool,
    ) -> Result<HostReport, Failure> {
        let look = Look { collector: self, destination, now };
        tokio::select! {
            result = timeout(self.settings.limit, look.take()) => {
                result.unwrap_or(Err(Failure::TimedOut(self.settings.limit)))
            }
            () = raised(cancelled) => Err(Failure::Interrupted),
        }
    }
}

impl LocalProgram {
    fn load(path: &Path) -> Result<Self, Failure> {
        let fail = |error| Failure::Local(format!("cannot read {}: {error}", path.display()));
        let file = File::open(path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        let mut head = Vec::new();
        file.take(HEAD).read_to_end(&mut head).map_err(fail)?;
        let program =
            Program::parse(&head).ok_or_else(|| Failure::Local(format!("{} is no program (ELF)", path.display())))?;
        Ok(Self { path: path.to_owned(), size, program })
    }

    /// For messages.
    fn name(&self) -> String {
        let own = self.path == Path::new(OWN_PROGRAM);
        let name = if own { "this program".to_owned() } else { self.path.display().to_string() };
        format!("{name} ({})", self.program.machine())
    }
}

/// One look at one machine.
struct Look<'a> {
    collector: &'a Collector,
    destination: &'a SshDestination,
    now: jiff::Timestamp,
}

/// What an order to run a program came to.
enum Ran {
    Report {
        report: Box<HostReport>,
        as_root: bool,
    },
    /// Why there is none; something else may be tried.
    Not(String),
}

impl Look<'_> {
    async fn take(&self) -> Result<HostReport, Failure> {
        let (mut session, probe) = match self.log_in().await? {
            Door::Open(session, probe) => (session, probe),
            Door::Forced(text) => {
                return host::read(&self.name(), &text).map_err(|error| Failure::Report(Box::new(error)));
            }
        };
        let offer = self.offer(&probe);
        // Why better ways were not gone.
        let mut notes = Vec::new();
        let mut spent = false;
        for step in plan::steps(&probe, &offer)? {
            if spent {
                session = match self.log_in().await? {
                    Door::Open(session, _) => session,
                    Door::Forced(_) => {
                        return Err(Failure::NoShell("it answered otherwise the second time".to_owned()));
                    }
                };
                spent = false;
            }
            let ran = match step {
                Step::Installed => {
                    session.order(script::RUN).await;
                    self.ran(session.answer().await?, "`postern host -o json` that is installed there")?
                }
                Step::Copy(which) => {
                    spent = true;
                    self.copied(&mut session, &self.collector.programs[which]).await?
                }
                Step::Plain => {
                    if !self.collector.settings.agentless && !offer.programs.iter().any(|(fits, _)| *fits) {
                        notes.push(plan::nothing_to_copy(&probe, &offer));
                    }
                    let report = self.plainly(&mut session, &probe, &notes).await?;
                    session.close().await;
                    return Ok(report);
                }
            };
            match ran {
                Ran::Report { mut report, as_root } => {
                    session.close().await;
                    if !as_root {
                        report.gaps.extend(self.not_root(&probe));
                    }
                    return Ok(*report);
                }
                Ran::Not(why) => notes.push(why),
            }
        }
        Err(Failure::NoListing(notes.join("; ")))
    }

    async fn log_in(&self) -> Result<Door, Failure> {
        Session::open(&self.collector.directory.path(CONFIG_FILE), self.destination, &random()).await
    }

    fn offer(&self, probe: &Probe) -> Offer {
        let programs = self.collector.programs.iter();
        Offer {
            agentless: self.collector.settings.agentless,
            programs: programs.map(|one| (one.program.fits(&probe.machine), one.name())).collect(),
        }
    }

    async fn look(&self, job: &str) -> Result<String, Failure> {
        let (mut session, probe) = match self.log_in().await? {
            Door::Open(session, probe) => (session, probe),
            Door::Forced(_) => return Err(Failure::NoShell("its key is for host reports only".to_owned())),
        };
        let offer = self.offer(&probe);
        let mut notes = Vec::new();
        session.order(&script::job(job)).await;
        for step in plan::steps(&probe, &offer)? {
            let (frames, what) = match step {
                Step::Installed => {
                    session.order(script::LOOK_ORDER).await;
                    (session.answer().await?, "the postern that is installed there".to_owned())
                }
                Step::Copy(which) => {
                    let program = &self.collector.programs[which];
                    let name = program.name();
                    let file = tokio::fs::File::open(&program.path).await;
                    let file = file.map_err(|error| Failure::Local(format!("cannot read {name}: {error}")))?;
                    (session.copy(script::copy_to_look(program.size), file).await?, format!("a copy of {name}"))
                }
                Step::Plain => {
                    notes.push(plan::nothing_to_copy(&probe, &offer));
                    break;
                }
            };
            match frames.iter().find(|frame| frame.name == script::LOOK) {
                Some(frame) if frame.is_success() => {
                    let text = frame.text();
                    session.close().await;
                    return Ok(text);
                }
                Some(frame) => notes.push(format!("{what} ended with exit code {}", frame.status)),
                None => notes.push(format!("{what} was not run")),
            }
            if matches!(step, Step::Copy(_)) {
                break;
            }
        }
        Err(Failure::NoListing(notes.join("; ")))
    }

    async fn copied(&self, session: &mut Session, program: &LocalProgram) -> Result<Ran, Failure> {
        let name = program.name();
        let file = match tokio::fs::File::open(&program.path).await {
            Ok(file) => file,
            Err(error) => return Ok(Ran::Not(format!("cannot read {name}: {error}"))),
        };
        let frames = session.copy(script::copy(program.size), file).await?;
        if let Some(refused) = frames.iter().find(|frame| frame.name == script::COPIED && !frame.is_success()) {
            let why = super::failure::shown(&refused.text());
            return Ok(Ran::Not(format!("{name} could not be copied there: {why}")));
        }
        let what = if program.program.is_dynamic {
            format!("a copy of {name}, which is no static program,")
        } else {
            format!("a copy of {name}")
        };
        self.ran(frames, &what)
    }

    /// Reads what a `postern` printed there.
    fn ran(&self, frames: Vec<Frame>, what: &str) -> Result<Ran, Failure> {
        let mut reports =
            frames.into_iter().filter(|frame| [script::REPORT, script::REPORT_AS_ROOT].contains(&frame.name.as_str()));
        // The one as root comes first, and then only if it failed the other.
        let Some(frame) = reports.next_back() else { return Ok(Ran::Not(format!("{what} was not run"))) };
        if !frame.is_success() {
            return Ok(Ran::Not(format!("{what} ended with exit code {}", frame.status)));
        }
        match host::read(&self.name(), &frame.text()) {
            Ok(report) => Ok(Ran::Report { report: Box::new(report), as_root: frame.name == script::REPORT_AS_ROOT }),
            Err(error @ ReadError::Newer { .. }) => Err(Failure::Report(Box::new(error))),
            Err(error) => Ok(Ran::Not(format!("{what} printed no report: {}", Failure::Report(Box::new(error))))),
        }
    }

    async fn plainly(&self, session: &mut Session, probe: &Probe, notes: &[String]) -> Result<HostReport, Failure> {
        session.order(script::PLAIN).await;
        let mut sections = Sections::default();
        for frame in session.answer().await? {
            sections.add(frame);
        }
        let mut report =
            plain::assemble(&sections, probe, &self.name(), format!("{:.0}", self.now)).map_err(Failure::NoListing)?;
        if !notes.is_empty() {
            report.gaps.push(Gap {
                what: format!("what `postern host` would see on {}", self.destination),
                cause: notes.join("; "),
                settled_by: "postern installed there, or a static one here (`cargo static`) or by --static-binary FILE"
                    .to_owned(),
                incomplete: false,
            });
        }
        report.gaps.extend(self.not_root(probe));
        Ok(report)
    }

    fn not_root(&self, probe: &Probe) -> Option<Gap> {
        let user = if probe.user.is_empty() { "the user" } else { probe.user.as_str() };
        let cause = match probe.sudo {
            Sudo::Needless | Sudo::Allowed => return None,
            Sudo::Refused => format!("`sudo -n` is refused to {user}"),
            Sudo::Absent => format!("{user} is not root, and there is no sudo"),
        };
        Some(Gap {
            what: format!(
                "what only root sees on {}: owners of others' sockets, other namespaces, rules",
                self.destination
            ),
            cause,
            settled_by: format!(
                "ssh as root, or a sudoers line: {user} ALL=(root) NOPASSWD: /usr/bin/postern host -o json"
            ),
            incomplete: false,
        })
    }

    fn name(&self) -> String {
        self.destination.to_string()
    }
}

async fn raised(flag: &AtomicBool) {
    while !flag.load(Ordering::SeqCst) {
        sleep(GLANCE).await;
    }
}

/// 128 bits that nobody guesses, in hexadecimal.
fn random() -> String {
    let mut bytes = [0_u8; 16];
    // Fails only where the kernel has no randomness at all; then what is left is the process and its address space.
    if rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).is_err() {
        let place = std::ptr::from_ref(&bytes).addr() as u64;
        bytes[..8].copy_from_slice(&place.to_ne_bytes());
        bytes[8..12].copy_from_slice(&std::process::id().to_ne_bytes());
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const OWN_PROGRAM: &str = "/proc/self/exe";
const CONFIG_FILE: &str = "config";
const USER_FILE: &str = "user";
/// Bytes of a program that hold its header and the table of its segments.
const HEAD: u64 = 16 << 10;
const GLANCE: Duration = Duration::from_millis(50);

//! Ctrl-C and SIGTERM: the first asks the run to stop and keep what it found, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// A flag that the stages look at. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
}

/// Signals within this time are one request: timeout(1) sends its signal to the process and then to the group that the
/// process is in.
const ONE_REQUEST: Duration = Duration::from_millis(400);

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on, on the current tokio runtime.
    pub fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let flag = Arc::clone(&interrupt.flag);
        tokio::spawn(async move {
            let mut asked = async || {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
            };
            asked().await;
            flag.store(true, Ordering::SeqCst);
            tracing::warn!("interrupted: saving what was found (again to end at once)");
            let _ = tokio::time::timeout(ONE_REQUEST, async {
                loop {
                    asked().await;
                }
            })
            .await;
            asked().await;
            // Asked twice: the operator does not want to wait. No destructor runs from here on.
            crate::host::remote::remove_private_files();
            std::process::exit(130);
        });
        Ok(interrupt)
    }

    pub fn is_raised(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// The flag itself, for stages that know nothing of signals.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

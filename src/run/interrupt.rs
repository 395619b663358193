//! Ctrl-C and SIGTERM: the first asks the run to stop and keep what it found, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// A flag that the stages look at. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on, on the current tokio runtime.
    pub fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let flag = Arc::clone(&interrupt.flag);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                if flag.swap(true, Ordering::SeqCst) {
                    // Asked twice: the operator does not want to wait. No destructor runs from here on.
                    crate::host::remote::remove_private_files();
                    std::process::exit(130);
                }
                tracing::warn!("interrupted: saving what was found (again to end at once)");
            }
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

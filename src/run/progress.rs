//! The progress bar on stderr: only on a terminal, never on stdout.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar as Bar, ProgressDrawTarget, ProgressStyle};

use crate::model::Transport;
use crate::sweep::Progress;

/// Whether there is a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowProgress {
    OnTerminal,
    Never,
}

/// How far the run is, with the time it will take.
#[derive(Debug)]
pub struct ProgressBar {
    bar: Bar,
}

impl ProgressBar {
    pub fn new(show: ShowProgress) -> Self {
        let visible = show == ShowProgress::OnTerminal && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: Bar::with_draw_target(None, target) }
    }

    /// A sweep of `endpoints` starts.
    pub fn begin(&self, transport: Transport, endpoints: u64) {
        // The template is a constant that parses; without it the bar has its default looks.
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {percent}% {msg} ETA {eta}") {
            self.bar.set_style(style);
        }
        self.bar.reset();
        self.bar.set_length(endpoints);
        self.bar.set_prefix(format!("sweep {transport}"));
        self.bar.enable_steady_tick(Duration::from_millis(250));
    }

    pub fn update(&self, at: Progress) {
        if at.total > 0 && self.bar.length() != Some(at.total) {
            self.bar.set_length(at.total);
        }
        self.bar.set_position(at.done);
        self.bar.set_message(format!("round {}, {} open", at.round + 1, at.open));
    }

    /// One more open endpoint was asked what it is.
    pub fn asked(&self) {
        self.bar.tick();
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

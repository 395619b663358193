//! Why a sweeping process has told no end, and what would settle it. Pure.

use std::io;

/// Why there is no result, or only some of it.
#[derive(Debug, thiserror::Error)]
pub enum Loss {
    /// How the process ended.
    #[error("it ended before the sweep did ({0})")]
    Ended(String),
    /// It could not begin, in its own words.
    #[error("{0}")]
    Failed(String),
    #[error("more was found than there is room for")]
    Full,
    #[error("it cannot be heard: {0}")]
    Io(#[from] io::Error),
    #[error("it was asked to stop, and said nothing for {0} seconds")]
    Late(u64),
    #[error("it says too much at once")]
    Line,
    #[error("it says nonsense: {0}")]
    Nonsense(serde_json::Error),
}

impl Loss {
    /// What would settle it.
    pub const fn settled_by(&self) -> &'static str {
        match self {
            Self::Full => "fewer addresses or ports at a time, or --shard",
            Self::Late(_) => UNINTERRUPTED,
            Self::Ended(_) | Self::Failed(_) | Self::Io(_) | Self::Line | Self::Nonsense(_) => "another run",
        }
    }
}

/// What settles whatever an interrupted run did not come to.
pub const UNINTERRUPTED: &str = "another run that is not interrupted";

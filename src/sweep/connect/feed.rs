//! What a worker asks next. Pure.

use std::collections::VecDeque;

use crate::model::{Endpoint, ProbeSpace};

/// Where the endpoints of a round come from: the space, and what is to be asked again.
#[derive(Debug, Default)]
pub(super) struct Feed {
    position: u64,
    len: u64,
    /// Asked before those of the space that are still to come.
    pub(super) again: VecDeque<Endpoint>,
}

impl Feed {
    /// All of a space of `len` endpoints.
    pub(super) fn new(len: u64) -> Self {
        Self { position: 0, len, again: VecDeque::new() }
    }

    /// How far the space was walked, and how long it is.
    pub(super) const fn progress(&self) -> (u64, u64) {
        (self.position, self.len)
    }

    /// The next endpoint, and whether it comes from the space (and so was not examined yet).
    pub(super) fn next(&mut self, space: &dyn ProbeSpace, round: u32) -> Option<(Endpoint, bool)> {
        if let Some(endpoint) = self.again.pop_front() {
            return Some((endpoint, false));
        }
        if self.position == self.len {
            return None;
        }
        self.position += 1;
        Some((space.endpoint(round, self.position - 1), true))
    }

    /// The last endpoint of the space was not dealt with.
    pub(super) fn put_back(&mut self) {
        self.position -= 1;
    }

    pub(super) fn is_spent(&self) -> bool {
        self.position == self.len && self.again.is_empty()
    }
}

//! The correlation as a whole: scenarios from `tests/data/correlate/` with their expected verdicts, and properties that
//! hold for every report.

// Marked as tests so that clippy lets their helpers unwrap.
#[cfg(test)]
mod build;
#[cfg(test)]
mod network;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod scenarios;

//! The words of `--engine` and `--transmit`.

use clap::ValueEnum;

/// `--engine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    #[default]
    Auto,
    Connect,
    Syn,
}

/// `--transmit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TransmitChoice {
    #[default]
    Auto,
    Kernel,
    Xdp,
}

impl EngineChoice {
    /// As it is written.
    pub fn word(self) -> String {
        word(self)
    }

    pub fn from_word(text: &str) -> Option<Self> {
        Self::from_str(text, false).ok()
    }
}

impl TransmitChoice {
    /// As it is written.
    pub fn word(self) -> String {
        word(self)
    }

    pub fn from_word(text: &str) -> Option<Self> {
        Self::from_str(text, false).ok()
    }
}

fn word(choice: impl ValueEnum) -> String {
    // None of them is hidden.
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for engine in EngineChoice::value_variants() {
            assert_eq!(EngineChoice::from_word(&engine.word()), Some(*engine));
        }
        for transmit in TransmitChoice::value_variants() {
            assert_eq!(TransmitChoice::from_word(&transmit.word()), Some(*transmit));
        }
        assert_eq!(EngineChoice::from_word("SYN"), None);
    }
}

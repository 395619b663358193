//! Texts that many things share. Pure.

use std::collections::HashSet;
use std::sync::Arc;

/// Keeps each text once: a network of equal machines answers with the same TCP options a million times.
#[derive(Debug, Default)]
pub struct Texts {
    kept: HashSet<Arc<str>>,
}

/// Different texts that are remembered: a hostile network may send any number.
const MOST: usize = 4096;

impl Texts {
    /// The text as all others have it that are the same.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.kept.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        if self.kept.len() < MOST {
            self.kept.insert(Arc::clone(&text));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_there_once_and_others_are_bounded() {
        let mut texts = Texts::default();
        let [one, other] = ["mss 1460,sack", "mss 1460,sack"].map(|text| texts.share(text));
        assert!(Arc::ptr_eq(&one, &other));
        for number in 0..2 * MOST {
            assert_eq!(&*texts.share(&number.to_string()), number.to_string());
        }
        assert_eq!(texts.kept.len(), MOST);
        assert!(Arc::ptr_eq(&one, &texts.share("mss 1460,sack")));
    }
}

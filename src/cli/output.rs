//! `-o FORMAT[=PATH]`: which results go where.

use std::path::PathBuf;
use std::str::FromStr;

/// One `-o`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    pub format: Format,
    pub destination: Destination,
}

/// An output format of `scan`, `audit` and `correlate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
    Ndjson,
}

impl Format {
    pub const ALL: [(&'static str, Self); 3] = [("json", Self::Json), ("ndjson", Self::Ndjson), ("table", Self::Table)];
    /// As it is written.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("table", |(name, _)| name)
    }

    /// Those of commands with one document.
    pub const DOCUMENTS: [(&'static str, Self); 2] = [("json", Self::Json), ("table", Self::Table)];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    File(PathBuf),
}

impl OutputSpec {
    /// What is written when no `-o` is given.
    pub const fn default_table() -> Self {
        Self { format: Format::Table, destination: Destination::Stdout }
    }
}

impl FromStr for OutputSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::among(text, &Format::ALL)
    }
}

impl OutputSpec {
    /// Of a command whose result is one document: nothing is found bit by bit that could be streamed.
    pub fn document(text: &str) -> Result<Self, String> {
        Self::among(text, &Format::DOCUMENTS)
    }

    fn among(text: &str, formats: &[(&'static str, Format)]) -> Result<Self, String> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name, Some(path)),
            None => (text, None),
        };
        let Some(&(_, format)) = formats.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = formats.iter().map(|(known, _)| *known).collect();
            return Err(format!("`{name}` is no output format of this command; hint: one of {}", known.join(", ")));
        };
        let destination = match path {
            Some("") => return Err(format!("no path after `{name}=`; hint: -o {name}=FILE, or -o {name} for stdout")),
            Some(path) => Destination::File(PathBuf::from(path)),
            None => Destination::Stdout,
        };
        Ok(Self { format, destination })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_takes_the_format_off_stdout() {
        let spec: OutputSpec = "json=a=b.json".parse().unwrap();
        assert_eq!(spec, OutputSpec { format: Format::Json, destination: Destination::File("a=b.json".into()) });
        assert_eq!("table".parse::<OutputSpec>().unwrap(), OutputSpec::default_table());
    }

    #[test]
    fn names_the_bad_value() {
        assert!("xml".parse::<OutputSpec>().unwrap_err().contains("`xml`"));
        assert!("json=".parse::<OutputSpec>().unwrap_err().contains("json=FILE"));
        let refused = OutputSpec::document("ndjson=x").unwrap_err();
        assert!(refused.contains("`ndjson`") && refused.contains("one of json, table"), "{refused}");
        assert!(OutputSpec::document("json=x").is_ok());
    }

    #[test]
    fn formats_are_sorted() {
        assert!(Format::ALL.is_sorted_by_key(|(name, _)| *name));
    }
}

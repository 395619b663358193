//! The document around the objects: text or JSON, one list, and what is wrong with it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::json::{Key, Value};
use super::reader::Listing;
use crate::firewall::ruleset::Ruleset;

/// Why a listing could not be read at all. Whoever shows it knows where it came from, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NftError {
    #[error("nft listing, line {line}, column {column}: {message}")]
    Syntax { line: usize, column: usize, message: String },
    /// With the place as a JSON pointer (RFC 6901).
    #[error("nft listing, at `{pointer}`: {message}")]
    Structure { pointer: String, message: String },
}

/// Reads a saved `nft -j list ruleset`.
///
/// # Errors
///
/// When the text is no JSON, or not of the kind that nft prints.
pub fn read_text(text: &str, dormant: &[String]) -> Result<Ruleset, NftError> {
    let mut listing = Listing::new(dormant);
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let document = Document { listing: &mut listing, found: &mut found };
    let read = (&mut json).deserialize_map(document).and_then(|()| json.end());
    match (read, found.fault) {
        (Ok(()), None) => Ok(listing.finish()),
        (_, Some(fault)) => Err(fault),
        (Err(error), None) if error.is_data() => Err(if found.member { no_list() } else { no_listing() }),
        (Err(error), None) => Err(NftError::Syntax {
            line: error.line(),
            column: error.column(),
            message: {
                // The place is told by the fields.
                let message = error.to_string();
                message.split(" at line ").next().unwrap_or(&message).to_owned()
            },
        }),
    }
}

/// Reads what `nft -j list ruleset` prints. `dormant`: `FAMILY NAME` of the tables that the text listing shows with
/// `flags dormant` ([`crate::model::network::FirewallDump::nft_dormant`]).
///
/// # Errors
///
/// When the document is not of the kind that nft prints. What this version does not know is no error.
pub fn read(json: &serde_json::Value, dormant: &[String]) -> Result<Ruleset, NftError> {
    let objects = json.get("nftables").ok_or_else(no_listing)?;
    let objects = objects.as_array().ok_or_else(no_list)?;
    let mut listing = Listing::new(dormant);
    for (index, object) in objects.iter().enumerate() {
        listing.object(index, &Value::from(object))?;
    }
    Ok(listing.finish())
}

fn no_listing() -> NftError {
    wrong("", "not an object with a member `nftables`")
}

fn no_list() -> NftError {
    wrong("/nftables", "not a list")
}

/// The document and its list: objects are read one by one as the text goes by, none is kept.
struct Document<'a, 'd> {
    listing: &'a mut Listing<'d>,
    found: &'a mut Found,
}

/// What an error of the deserializer has no room for.
#[derive(Default)]
struct Found {
    /// The member with the objects.
    member: bool,
    fault: Option<NftError>,
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a member `nftables`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = access.next_key()? {
            if key != "nftables" {
                access.next_value::<IgnoredAny>()?;
            } else if self.found.member {
                self.found.fault = Some(wrong("/nftables", "a second list"));
                return Err(A::Error::custom("a second list"));
            } else {
                self.found.member = true;
                access.next_value_seed(Objects { listing: &mut *self.listing, found: &mut *self.found })?;
            }
        }
        if self.found.member { Ok(()) } else { Err(A::Error::custom("no member `nftables`")) }
    }
}

struct Objects<'a, 'd> {
    listing: &'a mut Listing<'d>,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Objects<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(object) = access.next_element::<Value<'de>>()? {
            if let Err(fault) = self.listing.object(index, &object) {
                self.found.fault = Some(fault);
                return Err(A::Error::custom("a wrong object"));
            }
            index += 1;
        }
        Ok(())
    }
}

pub(super) fn wrong(pointer: impl Into<String>, message: impl Into<String>) -> NftError {
    NftError::Structure { pointer: pointer.into(), message: message.into() }
}

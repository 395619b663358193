//! One object of a listing as a tree that borrows from the listing's text.
//!
//! A large listing is mostly short words and small objects. `serde_json::Value` allocates each of them, and a search tree
//! for each object; here a word without escapes is a slice of the text, and an object a list of its few members. What
//! the readers ask of it is named as `serde_json` names it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A value of the listing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Map<'a>),
}

/// Members in the order in which they stand in the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Map<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Value<'a> {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    pub(super) fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    pub(super) fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    pub(super) const fn as_object(&self) -> Option<&Map<'a>> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) const fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    pub(super) const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(super) const fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    /// A member of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.as_object()?.get(key)
    }

    /// An element of an array.
    pub(super) fn at(&self, index: usize) -> Option<&Value<'a>> {
        self.as_array()?.get(index)
    }
}

impl<'a> Map<'a> {
    /// The last one counts where a key comes twice, as `serde_json` has it.
    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().rev().find_map(|(known, value)| (known == key).then_some(value))
    }

    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// The member of an object that has one.
    pub(super) fn only(&self) -> Option<(&str, &Value<'a>)> {
        match self.0.as_slice() {
            [(key, value)] => Some((key, value)),
            _ => None,
        }
    }
}

impl PartialEq<str> for Value<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(other)
    }
}

impl<'a> From<&'a serde_json::Value> for Value<'a> {
    fn from(value: &'a serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Bool(*flag),
            serde_json::Value::Number(number) => Self::Number(number.clone()),
            serde_json::Value::String(text) => Self::String(Cow::Borrowed(text)),
            serde_json::Value::Array(values) => Self::Array(values.iter().map(Self::from).collect()),
            serde_json::Value::Object(members) => Self::Object(Map(members
                .iter()
                .map(|(key, value)| (Cow::Borrowed(key.as_str()), Self::from(value)))
                .collect())),
        }
    }
}

/// As compact JSON.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::String(text) => word(f, text),
            Self::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (index, (key, value)) in members.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    word(f, key)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// In quotes, escaped.
fn word(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "{}", serde_json::Value::from(text))
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

/// Builds the tree; a depth of 128 is the deserializer's limit.
struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(Key(key)) = access.next_key()? {
            // Most objects of a listing have one member.
            if members.is_empty() {
                members.reserve_exact(1);
            }
            members.push((key, access.next_value()?));
        }
        Ok(Value::Object(Map(members)))
    }
}

/// A member's name; plain `Cow` would always be copied.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn trees_are_what_serde_json_reads() {
        let text = r#"{"a": [1, -2, 1.5, null, true], "b\n": {"c": "d\"e", "f": {}}, "g": "plain"}"#;
        let whole: serde_json::Value = serde_json::from_str(text).unwrap();
        let borrowed: Value<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(borrowed, Value::from(&whole));
        assert_eq!(borrowed.to_string(), r#"{"a":[1,-2,1.5,null,true],"b\n":{"c":"d\"e","f":{}},"g":"plain"}"#);
        let Value::String(Cow::Borrowed(_)) = borrowed.get("g").unwrap() else { panic!("copied") };
    }

    #[test]
    fn the_last_of_two_members_counts() {
        let twice: Value<'_> = serde_json::from_str(r#"{"a": 1, "a": 2}"#).unwrap();
        assert_eq!(twice.get("a").and_then(Value::as_u64), Some(2));
        assert_eq!(Value::from(&json!({"a": 1})).as_object().and_then(Map::only).map(|(key, _)| key), Some("a"));
    }
}

//! What `ipset save` prints, read into sets that `-m set` is asked of.
//!
//! [`catalogue`]: the listing and its sets; `building`: one set line by line; `values`: the parts of an element;
//! `exceptions`: elements that are none.

mod building;
pub mod catalogue;
mod exceptions;
mod values;

pub use catalogue::{Catalogue, Ipset, IpsetError, KeyPart, read};

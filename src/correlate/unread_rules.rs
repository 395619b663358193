//! What of a machine's packet filter is not known: the gaps that leave its verdicts to the sockets alone.

use crate::model::PathModel;
use crate::model::host_report::OWN_WORD_OF_ROOT;
use crate::model::path::{Lack, Unread};
use crate::model::report::Gap;

/// A dump that was given and cannot be understood: what it would have told was asked for, and the run is incomplete.
pub fn misunderstood(path: Option<&dyn PathModel>, name: &str) -> Vec<Gap> {
    let unread = path.map(PathModel::unread).unwrap_or_default();
    let settled_by = |lack| match lack {
        Lack::Broken | Lack::Changed => Some(format!("the report taken anew, by {OWN_WORD_OF_ROOT}")),
        Lack::Novel => Some("a version of postern that knows it".to_owned()),
        Lack::NotRead => None,
    };
    let gap = |unread: &Unread| {
        Some(Gap {
            what: what(name, unread.namespace.as_deref()),
            cause: unread.what.clone(),
            settled_by: settled_by(unread.lack)?,
            incomplete: true,
        })
    };
    unread.iter().filter_map(gap).collect()
}

/// Rules that nobody could, or did, read. The reports often say why; a listing of sockets never has any.
pub fn absent(path: Option<&dyn PathModel>, name: &str) -> Vec<Gap> {
    let Some(path) = path else {
        return vec![not_read(what(name, None), "no host report of it has them".to_owned())];
    };
    let unread = path.unread();
    let absent: Vec<&Unread> = unread.iter().filter(|unread| unread.lack == Lack::NotRead).collect();
    // All that one namespace lacks is one gap: one look settles it.
    let of_one = |group: &[&Unread]| {
        let lacks: Vec<&str> = group.iter().map(|unread| unread.what.as_str()).collect();
        not_read(what(name, group[0].namespace.as_deref()), lacks.join("; "))
    };
    absent.chunk_by(|one, other| one.namespace == other.namespace).map(of_one).collect()
}

fn not_read(what: String, cause: String) -> Gap {
    Gap { what, cause, settled_by: OWN_WORD_OF_ROOT.to_owned(), incomplete: false }
}

fn what(name: &str, namespace: Option<&str>) -> String {
    let place = namespace.map_or_else(String::new, |namespace| format!(", in namespace {namespace}"));
    format!("packet filter rules of {name}{place}")
}

//! Service by vantage: how each of several places saw the endpoints of a host.

use std::io::{self, Write};

use super::escape;
use super::layout::{Cell, Columns, DIM, PLAIN, TableStyle, verdict_style};
use crate::model::PortState;
use crate::model::report::{EndpointEntry, EndpointView, Host, Vantage};

/// Writes the matrix of a host; nothing where its endpoints were seen from one place only.
pub fn write(host: &Host, vantages: &[Vantage], style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let seen = |name: &str| host.endpoints.iter().any(|entry| view(entry, name).is_some());
    let names: Vec<&str> = vantages.iter().map(|vantage| vantage.name.as_str()).filter(|name| seen(name)).collect();
    if names.len() < 2 {
        return Ok(());
    }
    let shown: Vec<String> = names.iter().map(|name| format!("FROM {}", escape::text(name, 40))).collect();
    let header: Vec<&str> = std::iter::once("PORT").chain(shown.iter().map(String::as_str)).collect();
    let mut columns = Columns::new(&header);
    for entry in host.endpoints.iter().filter(|entry| !entry.views.is_empty()) {
        let mut row: Vec<Cell> = vec![(super::table::port_text(entry, host), PLAIN)];
        row.extend(names.iter().map(|name| view(entry, name).map_or_else(|| ("not asked".to_owned(), DIM), cell)));
        columns.row(row);
    }
    columns.write(style, to)
}

fn view<'a>(entry: &'a EndpointEntry, name: &str) -> Option<&'a EndpointView> {
    entry.views.iter().find(|view| view.vantage == name)
}

fn cell(view: &EndpointView) -> Cell {
    let style = match view.state {
        PortState::Open => view.verdict.map_or(PLAIN, verdict_style),
        _ => DIM,
    };
    match view.verdict {
        Some(verdict) => (format!("{} {verdict}", view.state), style),
        None => (view.state.to_string(), style),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Evidence, Reason, Verdict};

    fn view(vantage: &str, state: PortState, verdict: Option<Verdict>) -> EndpointView {
        EndpointView {
            vantage: vantage.to_owned(),
            state,
            reason: Reason::NoAnswer,
            evidence: Evidence::default(),
            service: None,
            verdict,
            also: Vec::new(),
        }
    }

    fn written(views: Vec<EndpointView>) -> String {
        let address = "198.18.0.7".parse().unwrap();
        let entry = EndpointEntry {
            views,
            verdict: Some(Verdict::Exposed),
            ..EndpointEntry::at(Endpoint::tcp(address, 5432), PortState::Open, Reason::Accepted)
        };
        let host = Host { id: "h".to_owned(), endpoints: vec![entry], ..Host::at(address) };
        let vantage = |name: &str| Vantage { name: name.to_owned(), ..Vantage::default() };
        let mut bytes = Vec::new();
        let style = TableStyle { color: false, width: 120 };
        write(&host, &[vantage("neighbour"), vantage("container:web")], style, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_column_for_each_vantage() {
        let text = written(vec![
            view("container:web", PortState::Open, Some(Verdict::Exposed)),
            view("neighbour", PortState::Filtered, Some(Verdict::Guarded)),
        ]);
        insta::assert_snapshot!(text, @r"
          PORT      FROM neighbour    FROM container:web
          5432/tcp  filtered guarded  open exposed
        ");
    }

    #[test]
    fn one_vantage_is_no_matrix() {
        assert_eq!(written(vec![view("neighbour", PortState::Open, None)]), "");
    }
}

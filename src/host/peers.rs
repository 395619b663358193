//! Which namespace the other end of a veth pair is in. Pure.
//!
//! An end knows the number of the other, and that it is elsewhere. The other end knows this one's number, which settles
//! it, unless several pairs of one machine have the same two numbers (small ones, in namespaces that hold a veth each).
//! Those are told apart by another pair between the same two namespaces, else the kernel is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::collected::Visited;
use super::network::Link;
use crate::model::host_report::Namespace;

/// By a namespace and the kernel's number in it for another namespace: the inode of that one.
pub type Told = HashMap<(u64, u32), u64>;

/// Fills [`crate::model::network::Interface::peer_namespace`] of all `namespaces`. `told`: what the kernel said of those
/// that [`open`] named.
pub fn name(namespaces: &mut [Namespace], visited: &[Visited], told: &Told) {
    let names: HashMap<u64, String> = namespaces.iter().map(|one| (one.inode, one.name.clone())).collect();
    let Pairs { mut settled, .. } = Pairs::of(visited);
    settled.extend(told);
    for (namespace, visited) in namespaces.iter_mut().zip(visited) {
        let Some(network) = &mut namespace.network else { continue };
        for ((index, lower), link) in pairs(visited) {
            let other = match link.lower_namespace {
                Some(number) => settled.get(&(visited.inode, number)).copied(),
                None => network.interfaces.iter().any(|one| one.index == lower).then_some(visited.inode),
            };
            let interface = network.interfaces.iter_mut().find(|one| one.index == index);
            if let (Some(interface), Some(other)) = (interface, other) {
                interface.peer_namespace = names.get(&other).cloned();
            }
        }
    }
}

/// Namespaces with pairs that their numbers alone do not settle, and those that the other ends may be in.
pub fn open(visited: &[Visited]) -> Vec<(u64, Vec<u64>)> {
    let pairs = Pairs::of(visited);
    let mut open: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (inode, number, candidates) in pairs.unsettled {
        if !pairs.settled.contains_key(&(inode, number)) {
            open.entry(inode).or_default().extend(candidates);
        }
    }
    open.into_iter().map(|(inode, candidates)| (inode, candidates.into_iter().collect())).collect()
}

struct Pairs {
    /// What one pair settles holds for all links to the namespace of that number.
    settled: Told,
    unsettled: Vec<(u64, u32, Vec<u64>)>,
}

impl Pairs {
    fn of(visited: &[Visited]) -> Self {
        let mut ends: HashMap<(u32, u32), Vec<(u64, &Link)>> = HashMap::new();
        for one in visited {
            for (numbers, link) in pairs(one).filter(|(_, link)| link.lower_namespace.is_some()) {
                ends.entry(numbers).or_default().push((one.inode, link));
            }
        }
        let mut found = Self { settled: HashMap::new(), unsettled: Vec::new() };
        for one in visited {
            for ((index, lower), link) in pairs(one) {
                let Some(number) = link.lower_namespace else { continue };
                let others = ends.get(&(lower, index)).map_or(&[][..], Vec::as_slice);
                let elsewhere: Vec<u64> =
                    others.iter().map(|(inode, _)| *inode).filter(|inode| *inode != one.inode).collect();
                let rivals = ends.get(&(index, lower)).map_or(0, Vec::len);
                match elsewhere[..] {
                    [] => {}
                    [other] if rivals == 1 => {
                        found.settled.insert((one.inode, number), other);
                    }
                    _ => found.unsettled.push((one.inode, number, elsewhere)),
                }
            }
        }
        found
    }
}

/// The veth ends of a namespace with their own number and that of the other end.
fn pairs(one: &Visited) -> impl Iterator<Item = ((u32, u32), &Link)> {
    let links = one.view.iter().flat_map(|view| &view.state.links);
    let ends = links.filter(|link| link.kind.as_deref() == Some("veth"));
    ends.filter_map(|link| Some(((link.index, link.lower?), link)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::collected::View;
    use crate::host::network::State;
    use crate::model::NetworkState;
    use crate::model::network::Interface;

    fn veth(index: u32, lower: u32, lower_namespace: Option<u32>) -> Link {
        let kind = Some("veth".to_owned());
        Link { index, lower: Some(lower), lower_namespace, kind, name: format!("v{index}"), ..Link::default() }
    }

    /// Of each namespace, of each interface.
    type Ends = Vec<Vec<Option<String>>>;

    fn peers(machine: &[(u64, &[Link])]) -> Ends {
        told_peers(machine, &[]).0
    }

    /// And what is open without being told.
    fn told_peers(machine: &[(u64, &[Link])], told: &[((u64, u32), u64)]) -> (Ends, Vec<(u64, Vec<u64>)>) {
        let mut visited = Vec::new();
        let mut namespaces = Vec::new();
        for (inode, links) in machine {
            let interfaces = links.iter().map(|link| Interface { index: link.index, ..Interface::default() }).collect();
            let network = NetworkState { interfaces, ..NetworkState::default() };
            let state = State { network: network.clone(), links: links.to_vec(), ..State::default() };
            visited.push(Visited {
                inode: *inode,
                mounts: Vec::new(),
                held_by: Vec::new(),
                view: Some(View { state, ..View::default() }),
            });
            namespaces.push(Namespace {
                name: format!("n{inode}"),
                inode: *inode,
                addresses: Vec::new(),
                container: None,
                pids: Vec::new(),
                held_by: Vec::new(),
                network: Some(network),
            });
        }
        name(&mut namespaces, &visited, &told.iter().copied().collect());
        let of = |one: &Namespace| {
            one.network.iter().flat_map(|state| &state.interfaces).map(|one| one.peer_namespace.clone()).collect()
        };
        (namespaces.iter().map(of).collect(), open(&visited))
    }

    fn known(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn containers_of_a_host_and_a_pair_within() {
        let host = [veth(57, 2, Some(0)), veth(58, 2, Some(1)), veth(60, 61, None), veth(61, 60, None)];
        let found = peers(&[(1, &host), (2, &[veth(2, 57, Some(0))]), (3, &[veth(2, 58, Some(0))])]);
        assert_eq!(found[0], [known("n2"), known("n3"), known("n1"), known("n1")]);
        assert_eq!((&found[1][0], &found[2][0]), (&known("n1"), &known("n1")));
    }

    #[test]
    fn equal_numbers_are_settled_by_another_pair_or_by_the_kernel() {
        // Two bridges' namespaces with one host each, numbered alike.
        let twins = [
            (1, &[veth(3, 2, Some(0))][..]),
            (2, &[veth(2, 3, Some(0))][..]),
            (3, &[veth(3, 2, Some(0))][..]),
            (4, &[veth(2, 3, Some(0))][..]),
        ];
        let (found, open) = told_peers(&twins, &[]);
        assert_eq!(found, vec![vec![None]; 4]);
        assert_eq!(open, [(1, vec![2, 4]), (2, vec![1, 3]), (3, vec![2, 4]), (4, vec![1, 3])]);
        let (found, _) = told_peers(&twins, &[((1, 0), 4), ((2, 0), 3)]);
        assert_eq!((&found[0][0], &found[1][0], &found[2][0]), (&known("n4"), &known("n3"), &None));
        // A second pair between 1 and 2 tells.
        let first = [veth(3, 2, Some(0)), veth(9, 8, Some(0))];
        let second = [veth(2, 3, Some(0)), veth(8, 9, Some(0))];
        let found = peers(&[(1, &first), (2, &second), twins[2], twins[3]]);
        assert_eq!(found[0], [known("n2"), known("n2")]);
        assert_eq!(found[2], [None]);
        // The other end's namespace could not be entered.
        assert_eq!(peers(&[(1, &[veth(3, 2, Some(0))])]), [[None]]);
    }
}

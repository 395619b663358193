//! What a sweep leaves open, and what would settle it. Pure.

use super::machine::Machine;
use crate::model::report::Gap;
use crate::sweep::recall;
use crate::sweep::tally::gap_of_unlisted;

impl Machine<'_> {
    pub(super) fn gaps(&self, interrupted: bool) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let rounds = self.found.len();
        if let Some(recall) = self.recall.filter(|_| !interrupted) {
            let short = self.settings.recall.filter(|wanted| recall.lower < *wanted);
            if let Some(wanted) = short {
                gaps.push(Gap {
                    what: format!("a recall of {wanted} is not assured: at least {:.4} is", recall.lower),
                    cause: format!("answers were lost in all of {rounds} rounds"),
                    settled_by: "a lower --rate, or another run".to_owned(),
                    incomplete: true,
                });
            } else if self.settings.recall.is_none() && recall.expected_missing >= recall::ENOUGH {
                gaps.push(Gap {
                    what: format!("about {:.1} open TCP ports are expected to be missing", recall.expected_missing),
                    cause: format!("answers were lost in all of {rounds} rounds"),
                    settled_by: "a lower --rate, or another run".to_owned(),
                    incomplete: true,
                });
            }
        }
        if self.totals.round_drops > 0 {
            gaps.push(Gap {
                what: format!("{} packets of the last round may have been answers", self.totals.round_drops),
                cause: "this machine did not fetch them in time and its kernel dropped them".to_owned(),
                settled_by: "a lower --rate".to_owned(),
                incomplete: true,
            });
        }
        let unheard = self.unheard().expected;
        if unheard >= recall::ENOUGH && !interrupted {
            gaps.push(Gap {
                what: format!("about {unheard:.1} living hosts are expected among the silent ones"),
                cause: format!("answers were lost, and silent hosts were asked in {} rounds", self.silent_asked.len()),
                settled_by: "another run, a lower --rate, or fewer addresses at a time".to_owned(),
                incomplete: true,
            });
        }
        gaps.extend(gap_of_unlisted(self.totals.unlisted, self.settings.most_hosts));
        gaps.extend(self.gap_of_fallen());
        gaps.extend(self.gaps_of_neighbours());
        gaps.extend(self.totals.not_asked.gaps());
        gaps
    }
}

impl Machine<'_> {
    /// Hosts on the link that may be there, though nobody answered for them.
    fn gaps_of_neighbours(&self) -> impl Iterator<Item = Gap> {
        let missing = self.neighbours.missing();
        let passes = self.neighbours.passes();
        let unheard = (missing > recall::ENOUGH).then(|| Gap {
            what: format!("about {missing:.1} hosts on the link are expected to be missing"),
            cause: format!("questions who has an address (ARP, NDP) or their answers were lost, in {passes} passes"),
            settled_by: "another run, when the link loses less".to_owned(),
            incomplete: true,
        });
        let unasked = self.neighbours.unasked();
        let unasked = (unasked > 0).then(|| Gap {
            what: format!(
                "{unasked} addresses on the link may be somebody's, and were not asked for as often as others"
            ),
            cause: "this machine could not send the questions who has them (ARP, NDP)".to_owned(),
            settled_by: "the network device up and a firewall that lets them pass, and another run".to_owned(),
            incomplete: true,
        });
        let nobody = self.neighbours.nobody().filter(|_| unasked.is_none()).map(|addresses| Gap {
            what: format!("nobody answered for any of {addresses} addresses on the link"),
            cause: "they are all unused, or the link does not carry: a cable, a VLAN, a port that a switch has blocked"
                .to_owned(),
            settled_by: "another machine of that network that answers (`ip neigh`), and another run".to_owned(),
            incomplete: false,
        });
        unheard.into_iter().chain(unasked).chain(nobody)
    }
}

//! Until when the vendors support their distributions' releases. Pure.
//!
//! General support by the vendor or project, without paid or volunteer extensions (LTS, ELTS, ESM, ELS, LTSS), which the
//! machine itself does not show. As of 2026-11; sources beside each table. What is not listed is not known.

use crate::model::host_report::OperatingSystem;

/// Fills in `end_of_support` and `supported` as of `today` (`2026-11-25`).
pub fn judge(os: OperatingSystem, today: &str) -> OperatingSystem {
    let end = os.version.as_deref().and_then(|version| end_of_support(&os.id, version));
    let supported = end.map(|end| today <= end);
    OperatingSystem { end_of_support: end.map(str::to_owned), supported, ..os }
}

fn end_of_support(id: &str, version: &str) -> Option<&'static str> {
    let table = TABLES.iter().find(|table| table.ids.contains(&id))?;
    let release = match table.granularity {
        Granularity::Major => version.split('.').next()?.to_owned(),
        Granularity::Minor => version.split('.').take(2).collect::<Vec<_>>().join("."),
    };
    table.releases.iter().find(|(name, _)| *name == release).map(|(_, end)| *end)
}

struct Table {
    /// `ID` of os-release.
    ids: &'static [&'static str],
    granularity: Granularity,
    /// Release and last day.
    releases: &'static [(&'static str, &'static str)],
}

/// How much of `VERSION_ID` names a release.
enum Granularity {
    Major,
    Minor,
}

const TABLES: &[Table] = &[
    // https://wiki.debian.org/DebianReleases: end of the security team's support (not LTS).
    Table {
        ids: &["debian"],
        granularity: Granularity::Major,
        releases: &[
            ("8", "2018-06-17"),
            ("9", "2020-07-18"),
            ("10", "2022-09-10"),
            ("11", "2024-08-14"),
            ("12", "2026-06-10"),
            ("13", "2028-08-09"),
        ],
    },
    // https://wiki.ubuntu.com/Releases: end of standard support.
    Table {
        ids: &["ubuntu"],
        granularity: Granularity::Minor,
        releases: &[
            ("14.04", "2019-04-30"),
            ("16.04", "2021-04-30"),
            ("18.04", "2023-05-31"),
            ("20.04", "2025-05-31"),
            ("22.04", "2027-06-01"),
            ("23.10", "2024-07-11"),
            ("24.04", "2029-05-31"),
            ("24.10", "2025-07-10"),
            ("25.04", "2026-01-15"),
        ],
    },
    // https://access.redhat.com/support/policy/updates/errata: end of maintenance support.
    Table {
        ids: &["rhel"],
        granularity: Granularity::Major,
        releases: &[
            ("6", "2020-11-30"),
            ("7", "2024-06-30"),
            ("8", "2029-05-31"),
            ("9", "2032-05-31"),
            ("10", "2035-05-31"),
        ],
    },
    // https://www.centos.org/centos-linux-eol/ and https://www.centos.org/cl-vs-cs/ (8: CentOS Linux, Stream 8 ended
    // 2024-05-31; 9, 10: Stream).
    Table {
        ids: &["centos"],
        granularity: Granularity::Major,
        releases: &[("6", "2020-11-30"), ("7", "2024-06-30"), ("8", "2024-05-31"), ("9", "2027-05-31")],
    },
    // https://wiki.rockylinux.org/rocky/version/ and https://wiki.almalinux.org/release-notes/: end of security support.
    Table {
        ids: &["almalinux", "rocky"],
        granularity: Granularity::Major,
        releases: &[("8", "2029-05-31"), ("9", "2032-05-31"), ("10", "2035-05-31")],
    },
    // https://docs.fedoraproject.org/en-US/releases/eol/
    Table {
        ids: &["fedora"],
        granularity: Granularity::Major,
        releases: &[
            ("37", "2023-12-05"),
            ("38", "2024-05-21"),
            ("39", "2024-11-26"),
            ("40", "2025-05-13"),
            ("41", "2025-12-15"),
        ],
    },
    // https://alpinelinux.org/releases/
    Table {
        ids: &["alpine"],
        granularity: Granularity::Minor,
        releases: &[
            ("3.15", "2023-11-01"),
            ("3.16", "2024-05-23"),
            ("3.17", "2024-11-22"),
            ("3.18", "2025-05-09"),
            ("3.19", "2025-11-01"),
            ("3.20", "2026-04-01"),
            ("3.21", "2026-11-01"),
            ("3.22", "2027-05-01"),
        ],
    },
    // https://endoflife.date/amazon-linux (AWS: "Amazon Linux 2 FAQs", "AL2023 release cadence").
    Table { ids: &["amzn"], granularity: Granularity::Major, releases: &[("2", "2026-06-30"), ("2023", "2029-06-30")] },
    // https://www.suse.com/lifecycle: end of general support.
    Table {
        ids: &["sled", "sles"],
        granularity: Granularity::Minor,
        releases: &[
            ("12.5", "2024-10-31"),
            ("15.3", "2022-12-31"),
            ("15.4", "2023-12-31"),
            ("15.5", "2024-12-31"),
            ("15.6", "2025-12-31"),
            ("15.7", "2031-07-31"),
        ],
    },
    // https://en.opensuse.org/Lifetime
    Table {
        ids: &["opensuse-leap"],
        granularity: Granularity::Minor,
        releases: &[("15.4", "2023-12-07"), ("15.5", "2024-12-31"), ("15.6", "2026-04-30")],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(id: &str, version: &str, today: &str) -> (Option<String>, Option<bool>) {
        let os = OperatingSystem { id: id.to_owned(), version: Some(version.to_owned()), ..OperatingSystem::default() };
        let os = judge(os, today);
        (os.end_of_support, os.supported)
    }

    #[test]
    fn releases_by_their_own_granularity() {
        assert_eq!(judged("debian", "11", "2024-08-14"), (Some("2024-08-14".to_owned()), Some(true)), "the last day");
        assert_eq!(judged("debian", "11", "2024-08-15").1, Some(false));
        assert_eq!(judged("alpine", "3.18.4", "2026-01-01").1, Some(false));
        assert_eq!(judged("rocky", "9.3", "2026-01-01").1, Some(true));
        assert_eq!(judged("ubuntu", "24.04", "2026-01-01").1, Some(true));
        assert_eq!(judged("gentoo", "2.15", "2026-01-01"), (None, None));
        assert_eq!(judged("debian", "99", "2026-01-01"), (None, None));
    }

    #[test]
    fn every_date_is_one_and_every_table_is_in_order() {
        for table in TABLES {
            assert!(table.ids.is_sorted());
            for (release, end) in table.releases {
                assert!(end.parse::<jiff::civil::Date>().is_ok(), "{release}: {end}");
            }
        }
    }
}

//! Which names and ends a role lets through.

use super::*;

fn reserved() -> ReservedNames {
    ReservedNames::new(
        "zone.example",
        &["head.zone.example".to_owned(), "10.9.9.9".to_owned()],
    )
}

fn role(change: impl FnOnce(&mut Role)) -> Role {
    let mut role = Role::default();
    change(&mut role);
    role.checked(&reserved()).unwrap()
}

fn ask(common_name: &str) -> IssueAsk {
    IssueAsk {
        common_name: common_name.into(),
        ..IssueAsk::default()
    }
}

fn names(role: &Role, ask: &IssueAsk) -> Result<Vec<String>, String> {
    plan(role, ask, None, &reserved())
        .map(|plan| plan.names.iter().map(ToString::to_string).collect())
        .map_err(|error| error.to_string())
}

fn allows(role: &Role, name: &str) -> bool {
    names(role, &ask(name)).is_ok()
}

#[test]
fn domains_are_judged_as_vault_judges_them() {
    type Rule = fn(&mut Role);
    let cases: [(&str, Rule, &[&str], &[&str]); 6] = [
        (
            "nothing allowed",
            |r| r.allow_localhost = false,
            &[],
            &["example.com", "a.example.com", "localhost"],
        ),
        (
            "localhost",
            |_| {},
            &["localhost", "localdomain"],
            &["a.localhost", "*.localhost"],
        ),
        (
            "bare",
            |r| {
                r.allowed_domains = vec!["Example.com".into()];
                r.allow_bare_domains = true;
            },
            &[
                "example.com",
                "EXAMPLE.COM",
                "example.com.",
                "me@example.com",
            ],
            &[
                "a.example.com",
                "*.example.com",
                "badexample.com",
                "example.com.evil.org",
            ],
        ),
        (
            "subdomains",
            |r| {
                r.allowed_domains = vec!["example.com".into()];
                r.allow_subdomains = true;
            },
            &[
                "a.example.com",
                "a.b.example.com",
                "*.example.com",
                "*.a.example.com",
                "a.localhost",
            ],
            &[
                "example.com",
                "badexample.com",
                "a.example.com.evil.org",
                "a*.example.com",
            ],
        ),
        (
            "no wildcards",
            |r| {
                r.allowed_domains = vec!["example.com".into()];
                r.allow_subdomains = true;
                r.allow_wildcard_certificates = false;
            },
            &["a.example.com"],
            &["*.example.com", "*.a.example.com"],
        ),
        (
            "globs",
            |r| {
                r.allowed_domains = vec!["ftp*.example.com".into()];
                r.allow_glob_domains = true;
            },
            &["ftp1.example.com", "FTP.example.com"],
            &["ssh.example.com", "example.com"],
        ),
    ];
    for (case, rule, good, bad) in cases {
        let role = role(rule);
        for name in good {
            assert!(
                allows(&role, name),
                "{case}: {name}: {:?}",
                names(&role, &ask(name))
            );
        }
        for name in bad {
            assert!(!allows(&role, name), "{case}: {name}");
        }
    }
}

#[test]
fn c3_reserved_names_are_refused_even_by_a_role_that_allows_any() {
    let role = role(|r| {
        r.allow_any_name = true;
        r.enforce_hostnames = false;
        r.allowed_uri_sans = vec!["*".into()];
        r.allowed_other_sans = vec!["*".into()];
    });
    for name in [
        "head.zone.example",
        "HEAD.Zone.Example.",
        "*.zone.example",
        "x@head.zone.example",
    ] {
        assert!(
            names(&role, &ask(name)).unwrap_err().contains("reserved"),
            "{name}"
        );
        let excluded = IssueAsk {
            exclude_cn_from_sans: true,
            ..ask(name)
        };
        assert!(
            names(&role, &excluded).unwrap_err().contains("reserved"),
            "{name}"
        );
        let alt = IssueAsk {
            alt_names: vec![name.into()],
            ..ask("ok.example")
        };
        assert!(
            names(&role, &alt).unwrap_err().contains("reserved"),
            "{name}"
        );
    }
    for uri in [
        "spiffe://zone.example/web",
        "SPIFFE://zone.example/web",
        "spiffe://ZONE.example/x",
    ] {
        let alt = IssueAsk {
            uri_sans: vec![uri.into()],
            ..ask("ok.example")
        };
        assert!(
            names(&role, &alt).unwrap_err().contains("reserved"),
            "{uri}"
        );
        assert!(
            names(&role, &ask(uri)).unwrap_err().contains("reserved"),
            "{uri}"
        );
    }
    let ip = IssueAsk {
        ip_sans: vec!["10.9.9.9".into()],
        ..ask("ok.example")
    };
    assert!(names(&role, &ip).unwrap_err().contains("reserved"));
    let mapped = IssueAsk {
        ip_sans: vec!["::ffff:10.9.9.9".into()],
        ..ask("ok.example")
    };
    assert!(names(&role, &mapped).unwrap_err().contains("reserved"));
}

#[test]
fn attack_1_a_csr_obeys_the_role() {
    let role = role(|r| {
        r.allowed_domains = vec!["example.com".into()];
        r.allow_subdomains = true;
    });
    let csr = |name: AltName| Requested {
        subject: Subject::common("a.example.com"),
        names: vec![name],
    };
    let judge = |name: AltName| plan(&role, &IssueAsk::default(), Some(&csr(name)), &reserved());
    assert!(judge(AltName::Dns("b.example.com".into())).is_ok());
    for name in [
        AltName::Dns("evil.org".into()),
        AltName::Dns("head.zone.example".into()),
        AltName::Dns("me@a.example.com".into()),
        AltName::Dns("a.example.com\u{0}.evil.org".into()),
        AltName::Dns("bücher.example.com".into()),
        AltName::Dns("a.*.example.com".into()),
        AltName::Uri("spiffe://zone.example/web".into()),
        AltName::Uri("https://a.example.com/".into()),
        AltName::Email("me@evil.org".into()),
        AltName::Email("a.example.com".into()),
        AltName::Other {
            oid: "1.3.6.1.4.1.311.20.2.3".into(),
            value: "admin@corp".into(),
        },
    ] {
        assert!(judge(name.clone()).is_err(), "{name}");
    }
    // The role, not the field, decides whose names count.
    let fields = IssueAsk {
        alt_names: vec!["evil.org".into()],
        ..IssueAsk::default()
    };
    let plan = plan(
        &role,
        &fields,
        Some(&csr(AltName::Dns("b.example.com".into()))),
        &reserved(),
    )
    .unwrap();
    assert_eq!(
        plan.names,
        [
            AltName::Dns("a.example.com".into()),
            AltName::Dns("b.example.com".into())
        ]
    );
}

#[test]
fn ten_thousand_names_are_refused() {
    let role = role(|r| r.allow_any_name = true);
    let many: Vec<String> = (0..10_000).map(|i| format!("n{i}.example.com")).collect();
    let fields = IssueAsk {
        alt_names: many.clone(),
        ..ask("a.example.com")
    };
    assert!(names(&role, &fields).unwrap_err().contains("more than 100"));
    let csr = Requested {
        subject: Subject::common("a.example.com"),
        names: many.into_iter().map(AltName::Dns).collect(),
    };
    assert!(plan(&role, &IssueAsk::default(), Some(&csr), &reserved()).is_err());
    let hundred = (0..99).map(|i| format!("n{i}.example.com")).collect();
    let fields = IssueAsk {
        alt_names: hundred,
        ..ask("a.example.com")
    };
    assert_eq!(names(&role, &fields).unwrap().len(), 100);
}

#[test]
fn common_name_and_alternative_name_are_one_spelling() {
    let role = role(|r| r.allow_any_name = true);
    let fields = IssueAsk {
        alt_names: vec!["A.example.com".into()],
        ..ask("a.EXAMPLE.com.")
    };
    let plan = plan(&role, &fields, None, &reserved()).unwrap();
    assert_eq!(plan.subject.common_name, "a.example.com");
    assert_eq!(plan.names, [AltName::Dns("a.example.com".into())]);
}

#[test]
fn evasions_are_refused() {
    let role = role(|r| {
        r.allow_any_name = true;
        r.enforce_hostnames = false;
    });
    for name in ["a\u{202e}b", "a\u{200b}b", "a\nb", " a", &"a".repeat(65)] {
        assert!(!allows(&role, name), "{name:?}");
    }
    for name in [
        "bücher.example",
        "a..b",
        "-a.b",
        "*.*.example",
        "*",
        "a_b.example",
        "1.2.3.4",
    ] {
        let fields = IssueAsk {
            alt_names: vec![name.into()],
            ..ask("ok.example")
        };
        assert!(names(&role, &fields).is_err(), "{name}");
    }
}

#[test]
fn free_text_needs_a_role_that_takes_it() {
    let strict = role(|r| r.allow_any_name = true);
    assert!(!allows(&strict, "system:node:a"));
    let loose = role(|r| {
        r.enforce_hostnames = false;
        r.allowed_domains = vec!["system:node:a".into()];
        r.allow_bare_domains = true;
    });
    assert_eq!(
        names(&loose, &ask("system:node:a")).unwrap(),
        Vec::<String>::new()
    );
    assert!(!allows(&loose, "system:masters"));
    let unchecked = role(|r| r.cn_validations = vec!["disabled".into()]);
    let fields = IssueAsk {
        exclude_cn_from_sans: true,
        ..ask("anything goes")
    };
    assert!(names(&unchecked, &fields).is_ok());
    // Even then a name that goes into the alternative names is judged.
    assert!(!allows(&unchecked, "evil.org"));
}

#[test]
fn other_kinds_of_names_follow_their_lists() {
    let role = role(|r| {
        r.allow_any_name = true;
        r.allow_ip_sans = false;
        r.allowed_uri_sans = vec!["https://*.example.com/*".into()];
        r.allowed_other_sans = vec!["1.2.3.4;UTF8:dev*".into()];
        r.allowed_serial_numbers = vec!["SN-*".into()];
    });
    let with = |change: fn(&mut IssueAsk)| {
        let mut fields = ask("a.example.com");
        change(&mut fields);
        names(&role, &fields).is_ok()
    };
    assert!(!with(|a| a.ip_sans = vec!["1.2.3.4".into()]));
    assert!(with(|a| a.uri_sans = vec!["https://x.example.com/y".into()]));
    assert!(!with(|a| a.uri_sans = vec!["https://evil.org/".into()]));
    assert!(with(|a| a.other_sans = vec!["1.2.3.4;UTF8:dev1".into()]));
    assert!(!with(|a| a.other_sans = vec!["1.2.3.4;UTF8:prod".into()]));
    assert!(!with(|a| a.other_sans = vec!["1.2.3.5;UTF8:dev1".into()]));
    assert!(with(|a| a.serial_number = "SN-1".into()));
    assert!(!with(|a| a.serial_number = "X".into()));
    assert!(!with(|a| a.user_ids = vec!["u".into()]));
}

const DAY: u64 = 86_400;

fn bounds(beyond: LeafNotAfter) -> Bounds {
    let now = Timestamp::from_secs(1_800_000_000);
    Bounds {
        now,
        default_ttl: Duration::from_secs(32 * DAY),
        max_ttl: Duration::from_secs(32 * DAY),
        issuer: (
            now.minus(Duration::from_secs(10)),
            now.plus(Duration::from_secs(100 * DAY)),
        ),
        beyond,
    }
}

#[test]
fn c1_no_leaf_outlives_its_issuer() {
    let long = role(|r| r.max_ttl = 200 * DAY);
    let fields = IssueAsk {
        ttl: Some(Duration::from_secs(101 * DAY)),
        ..ask("a")
    };
    let bounds = bounds(LeafNotAfter::Err);
    let error = life(&long, &fields, &bounds).unwrap_err().to_string();
    let asked = bounds.now.plus(Duration::from_secs(101 * DAY)).to_string();
    assert!(
        error.contains(&asked) && error.contains(&bounds.issuer.1.to_string()),
        "{error}"
    );
    let truncated = Bounds {
        beyond: LeafNotAfter::Truncate,
        ..bounds
    };
    assert_eq!(
        life(&long, &fields, &truncated).unwrap().not_after,
        bounds.issuer.1
    );
    let expired = Bounds {
        now: bounds.issuer.1,
        ..truncated
    };
    assert!(
        life(&long, &ask("a"), &expired)
            .unwrap_err()
            .to_string()
            .contains("expired")
    );
}

#[test]
fn the_roles_longest_life_bounds_ttl_and_not_after() {
    let short = role(|r| (r.ttl, r.max_ttl) = (DAY, 2 * DAY));
    let bounds = bounds(LeafNotAfter::Err);
    let end = |fields: &IssueAsk| life(&short, fields, &bounds);
    let days = |n: u64| bounds.now.plus(Duration::from_secs(n * DAY));
    assert_eq!(end(&ask("a")).unwrap().not_after, days(1));
    let more = end(&IssueAsk {
        ttl: Some(Duration::from_secs(3 * DAY)),
        ..ask("a")
    })
    .unwrap();
    assert_eq!((more.not_after, more.warnings.len()), (days(2), 1));
    let fixed = |at: Timestamp| {
        end(&IssueAsk {
            not_after: at.to_string(),
            ..ask("a")
        })
    };
    assert_eq!(fixed(days(2)).unwrap().not_after, days(2));
    let error = fixed(days(3)).unwrap_err().to_string();
    assert!(
        error.contains("not_after") && error.contains(&days(2).to_string()),
        "{error}"
    );
    assert!(fixed(bounds.now).unwrap_err().to_string().contains("past"));
    assert!(
        end(&IssueAsk {
            not_after: "soon".into(),
            ..ask("a")
        })
        .is_err()
    );
}

#[test]
fn a_leaf_begins_no_earlier_than_its_issuer() {
    let role = role(|r| r.not_before_duration = 3600);
    let bounds = bounds(LeafNotAfter::Err);
    assert_eq!(
        life(&role, &ask("a"), &bounds).unwrap().not_before,
        bounds.issuer.0
    );
}

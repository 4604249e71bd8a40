//! Path patterns: which paths they match, and which of two patterns is the more specific.
//!
//! `*` at the end stands for any rest, `+` for one whole segment (perhaps an empty one, so that
//! `a/+` matches `a/`, as in Vault). A `+` beside other characters is an ordinary character.

use std::cmp::Reverse;

use zone_types::RequestPath;

/// Why a pattern was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatternFault {
    InnerStar,
    PlusStar,
    Unreachable(zone_types::PathFault),
}

/// How specific a pattern is; see [`Pattern::rank`].
pub(crate) type Rank<'a> = (usize, bool, Reverse<usize>, usize, &'a str);

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// As written, less a leading `/`.
    text: Box<str>,
    /// `text` without a trailing `*`.
    body_len: usize,
    /// Where in `text` the first `+` or the `*` stands; `usize::MAX` if there is none.
    first_wild: usize,
    /// How many segments are `+`.
    pluses: usize,
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternFault> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let body = text.strip_suffix('*').unwrap_or(text);
        let prefix = body.len() < text.len();
        if body.contains('*') {
            return Err(PatternFault::InnerStar);
        }
        if prefix && body.ends_with('+') {
            return Err(PatternFault::PlusStar);
        }
        // What stands before a `*` may be a part of a segment: `a/.*` matches `a/.b`.
        let probe = if prefix {
            format!("{body}x")
        } else {
            body.to_owned()
        };
        RequestPath::from_text(&probe).map_err(PatternFault::Unreachable)?;
        let mut first_wild = if prefix { body.len() } else { usize::MAX };
        let (mut pluses, mut at) = (0, 0);
        for segment in body.split('/') {
            if segment == "+" {
                pluses += 1;
                first_wild = first_wild.min(at);
            }
            at += segment.len() + 1;
        }
        Ok(Self {
            text: text.into(),
            body_len: body.len(),
            first_wild,
            pluses,
        })
    }

    /// The text as written, less a leading `/`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text without a trailing `*`.
    pub(crate) fn body(&self) -> &str {
        &self.text[..self.body_len]
    }

    /// Whether it ends in `*`.
    pub(crate) fn is_prefix(&self) -> bool {
        self.body_len < self.text.len()
    }

    /// Whether some segment is `+`.
    pub(crate) fn has_segments(&self) -> bool {
        self.pluses > 0
    }

    /// The greater of two ranks decides. In Vault's order: no wildcard at all; the first
    /// wildcard further right; no `*` at the end; fewer `+`; longer; greater as text.
    pub(crate) fn rank(&self) -> Rank<'_> {
        (
            self.first_wild,
            !self.is_prefix(),
            Reverse(self.pluses),
            self.body_len,
            self.body(),
        )
    }

    /// Whether it matches each path that `other` matches. May say no although it does.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.parts(), other.parts());
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (Some(Part::Rest(p)), Some(Part::Rest(q) | Part::Text(q))) => {
                    return q.starts_with(p);
                }
                (Some(Part::Rest(p)), Some(Part::Any)) => return p.is_empty(),
                (Some(Part::Text(a)), Some(Part::Text(b))) if a == b => {}
                (Some(Part::Any), Some(Part::Any | Part::Text(_))) => {}
                _ => return false,
            }
        }
    }

    /// Whether some path is matched by both, if a `/` at the end of a path counts for nothing
    /// (a list looks at both spellings). May say yes although there is none.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.parts(), other.parts());
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (Some(Part::Rest(p)), Some(Part::Rest(q))) => {
                    return p.starts_with(q) || q.starts_with(p);
                }
                (Some(Part::Rest(p)), Some(Part::Text(t)))
                | (Some(Part::Text(t)), Some(Part::Rest(p))) => return t.starts_with(p),
                (Some(Part::Rest(_)), Some(Part::Any)) | (Some(Part::Any), Some(Part::Rest(_))) => {
                    return true;
                }
                (Some(part), None) => return part.may_be_empty() && mine.next().is_none(),
                (None, Some(part)) => return part.may_be_empty() && theirs.next().is_none(),
                (Some(Part::Text(a)), Some(Part::Text(b))) if a != b => return false,
                _ => {}
            }
        }
    }

    /// Whether some path below `mount` (which ends in `/`) is matched.
    pub(crate) fn enters(&self, mount: &str) -> bool {
        let mut mine = self.parts();
        for segment in mount.trim_end_matches('/').split('/') {
            match mine.next() {
                Some(Part::Any) => {}
                Some(Part::Text(text)) if text == segment => {}
                Some(Part::Rest(part)) => return segment.starts_with(part),
                _ => return false,
            }
        }
        mine.next().is_some()
    }

    /// Its segments in order; a [`Part::Rest`] is the last.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let prefix = self.is_prefix();
        let mut segments = self.body().split('/').peekable();
        std::iter::from_fn(move || {
            let segment = segments.next()?;
            let last = segments.peek().is_none();
            Some(match segment {
                part if last && prefix => Part::Rest(part),
                "+" => Part::Any,
                text => Part::Text(text),
            })
        })
    }
}

/// What a pattern says about a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    /// One segment, just this.
    Text(&'a str),
    /// One segment, any.
    Any,
    /// The rest of the path, which begins so.
    Rest(&'a str),
}

impl Part<'_> {
    fn may_be_empty(&self) -> bool {
        matches!(self, Self::Any | Self::Rest("") | Self::Text(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn matches(text: &str, path: &str) -> bool {
        let (mut tree, mut found) = (crate::segments::Segments::default(), false);
        tree.insert(&pattern(text), 0);
        tree.matches(path, &mut |_| found = true);
        found
    }

    #[test]
    fn matches_as_vault_does() {
        let cases: [(&str, &[&str], &[&str]); 9] = [
            ("a/b", &["a/b"], &["a/b/", "a/bc", "a"]),
            ("/a/b", &["a/b"], &["/a/b"]),
            ("a/b*", &["a/b", "a/b/", "a/bc/d"], &["a/c", "a/"]),
            ("*", &["", "a", "a/b/"], &[]),
            ("a/+", &["a/b", "a/"], &["a", "a/b/", "a/b/c"]),
            ("+/b", &["a/b", "x/b"], &["b", "a/c", "a/b/c"]),
            (
                "a/+/c*",
                &["a/b/c", "a/b/cd/e", "a//c"],
                &["a/b", "a/b/d", "a/b/e/c"],
            ),
            ("a/+/*", &["a/b/", "a/b/c/d"], &["a/b", "a"]),
            ("a/b+c", &["a/b+c"], &["a/bxc"]),
        ];
        for (text, yes, no) in cases {
            for path in yes {
                assert!(matches(text, path), "{text} should match {path}");
            }
            for path in no {
                assert!(!matches(text, path), "{text} should not match {path}");
            }
        }
    }

    #[test]
    fn refuses_patterns_that_never_match_or_mislead() {
        use zone_types::PathFault;
        let cases = [
            ("a/*/b", PatternFault::InnerStar),
            ("a/**", PatternFault::InnerStar),
            ("a/+*", PatternFault::PlusStar),
            ("a//b", PatternFault::Unreachable(PathFault::EmptySegment)),
            ("//a", PatternFault::Unreachable(PathFault::EmptySegment)),
            ("a/../b", PatternFault::Unreachable(PathFault::DotSegment)),
            ("a/\u{200b}", PatternFault::Unreachable(PathFault::Control)),
        ];
        for (text, fault) in cases {
            assert_eq!(Pattern::parse(text), Err(fault), "{text}");
        }
        assert!(Pattern::parse("a/..*").is_ok());
    }

    #[test]
    fn the_more_specific_pattern_has_the_greater_rank() {
        // Each beats the next.
        let orders: [&[&str]; 4] = [
            &["a/b", "a/b*", "a/*", "a*", "*"],
            &["a/b/+", "a/b/*", "a/+/c", "a/+/+", "a/*", "a/+/c*", "a/+/*"],
            &["s/+/x/y", "s/+/x/a", "s/+/+/y", "s/+/x/yy*", "s/+/x/y*"],
            &["a/b+/c", "a/b*"],
        ];
        for order in orders {
            for pair in order.windows(2) {
                let [better, worse] = [pattern(pair[0]), pattern(pair[1])];
                assert!(better.rank() > worse.rank(), "{pair:?}");
            }
        }
    }

    #[test]
    fn containment_and_meeting() {
        let contains = [
            ("a/*", "a/b"),
            ("a/*", "a/+"),
            ("a/*", "a/b/*"),
            ("+/b", "a/b"),
            ("*", "+/+"),
        ];
        for (big, small) in contains {
            assert!(pattern(big).contains(&pattern(small)), "{big} ⊇ {small}");
            assert!(pattern(big).meets(&pattern(small)) && pattern(small).meets(&pattern(big)));
            assert!(!pattern(small).contains(&pattern(big)), "{small} ⊉ {big}");
        }
        for (one, other) in [
            ("a/+", "+/b"),
            ("a/b", "a/b/"),
            ("a/b", "a/b/*"),
            ("a/b*", "a/+"),
        ] {
            assert!(pattern(one).meets(&pattern(other)), "{one} meets {other}");
            assert!(pattern(other).meets(&pattern(one)), "{other} meets {one}");
        }
        for (one, other) in [
            ("a/b", "a/c"),
            ("a/b*", "a/c*"),
            ("a/+", "b/+"),
            ("a", "a/b/c"),
        ] {
            assert!(
                !pattern(one).meets(&pattern(other)),
                "{one} does not meet {other}"
            );
        }
    }
}

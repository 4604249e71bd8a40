//! Templates: patterns with `{{identity…}}` in them, filled in for one caller.
//!
//! # What must hold
//!
//! * A value stands for itself alone. One that could widen a pattern or leave its segment (`*`,
//!   `+`, `/`, `,`, braces, control and invisible characters, `.` and `..`) fills nothing
//!   (GHSA-59w7-v8rr-pr4p).
//! * A rule whose template cannot be filled grants nothing; if it denies, it denies all that
//!   begins like its pattern up to the first template, whatever other rules say, so that no
//!   `deny` vanishes because a value is missing.
//! * Whoever compares rules that are not filled yet ([`Template::widest`]) sees at least what
//!   any value could give.

use std::collections::BTreeMap;

use zone_types::RequestPath;

use crate::pattern::{Pattern, PatternFault};

/// The longest selector, in bytes.
const LONGEST: usize = 512;

/// What templates can tell of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The id of the entity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Its aliases.
    pub aliases: Vec<AliasFacts>,
    /// Its groups, those that contain others of its groups among them.
    pub groups: Vec<GroupFacts>,
}

/// One alias of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AliasFacts {
    /// The accessor of the auth mount that knows the name.
    pub accessor: String,
    /// The id of the alias.
    pub id: String,
    /// The name, as the auth mount spells it.
    pub name: String,
    /// What the auth mount says of it.
    pub metadata: BTreeMap<String, String>,
    /// What operators say of it.
    pub custom_metadata: BTreeMap<String, String>,
}

/// One group of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupFacts {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Why a pattern is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TemplateFault {
    Unbalanced,
    Unknown,
    List,
    Pattern(PatternFault),
}

/// A pattern with values that are still missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    /// As written, less a leading `/`.
    text: Box<str>,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(Box<str>),
    Value(Selector),
}

/// Which value.
#[derive(Debug, Clone, PartialEq)]
enum Selector {
    Entity(Field),
    Alias { accessor: Box<str>, field: Field },
    GroupById { id: Box<str>, field: Field },
    GroupByName { name: Box<str>, field: Field },
}

#[derive(Debug, Clone, PartialEq)]
enum Field {
    Id,
    Name,
    Metadata(Box<str>),
    CustomMetadata(Box<str>),
}

impl Template {
    /// Whether `text` is meant as a template.
    pub(crate) fn is_one(text: &str) -> bool {
        text.contains("{{") || text.contains("}}")
    }

    pub(crate) fn parse(text: &str) -> Result<Self, TemplateFault> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (selector, after) = after.split_once("}}").ok_or(TemplateFault::Unbalanced)?;
            pieces.push(Piece::Text(before.into()));
            pieces.push(Piece::Value(Selector::parse(selector.trim())?));
            rest = after;
        }
        pieces.push(Piece::Text(rest.into()));
        let stray = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains("}}"));
        if pieces.iter().any(stray) {
            return Err(TemplateFault::Unbalanced);
        }
        let template = Self {
            text: text.into(),
            pieces,
        };
        // What stands around the values must be canonical by itself.
        let probe = template.render(|_| Some("x"));
        Pattern::parse(&probe.unwrap_or_default()).map_err(TemplateFault::Pattern)?;
        Ok(template)
    }

    /// The text as written, less a leading `/`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The pattern for this caller; `None` if a value is missing or unfit.
    pub(crate) fn fill(&self, identity: Option<&Identity>) -> Option<Pattern> {
        let identity = identity?;
        let text = self.render(|selector| selector.value(identity).filter(|value| is_fit(value)));
        Pattern::parse(&text?).ok()
    }

    /// A pattern that matches all that begins like this one up to its first value.
    pub(crate) fn prefix(&self) -> Pattern {
        let before = match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        };
        let any = || Pattern::parse("*").expect("a pattern");
        // `a/+{{…}}` up to its value would be `a/+*`, which is no pattern.
        let before = before.trim_end_matches('+');
        Pattern::parse(&format!("{before}*")).unwrap_or_else(|_| any())
    }

    /// A pattern that contains whatever [`Template::fill`] may give.
    pub(crate) fn widest(&self) -> Pattern {
        const HOLE: &str = "\u{1}";
        let text = self.render(|_| Some(HOLE)).unwrap_or_default();
        let (body, star) = match text.strip_suffix('*') {
            Some(body) => (body, true),
            None => (&*text, false),
        };
        let mut segments: Vec<&str> = body.split('/').collect();
        let ends_in_hole = segments.last().is_some_and(|last| last.contains(HOLE));
        if star && ends_in_hole {
            segments.pop();
            segments.push("");
        }
        for segment in &mut segments {
            if segment.contains(HOLE) {
                *segment = "+";
            }
        }
        let wide = segments.join("/") + if star { "*" } else { "" };
        Pattern::parse(&wide).unwrap_or_else(|_| self.prefix())
    }

    fn render<'a>(&'a self, value: impl Fn(&'a Selector) -> Option<&'a str>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            text.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Value(selector) => value(selector)?,
            });
        }
        Some(text)
    }
}

impl Selector {
    fn parse(text: &str) -> Result<Self, TemplateFault> {
        if text.len() > LONGEST {
            return Err(TemplateFault::Unknown);
        }
        if let Some(rest) = text.strip_prefix("identity.entity.") {
            return match rest.strip_prefix("aliases.") {
                Some(rest) => {
                    let (accessor, field) = named(rest)?;
                    let field = Field::parse(field, true)?;
                    Ok(Self::Alias { accessor, field })
                }
                None => Field::parse(rest, false).map(Self::Entity),
            };
        }
        if let Some(rest) = text.strip_prefix("identity.groups.ids.") {
            let (id, field) = named(rest)?;
            let field = Field::parse(field, false)?;
            return Ok(Self::GroupById { id, field });
        }
        if let Some(rest) = text.strip_prefix("identity.groups.names.") {
            let (name, field) = named(rest)?;
            let field = Field::parse(field, false)?;
            return Ok(Self::GroupByName { name, field });
        }
        Err(TemplateFault::Unknown)
    }

    /// The value, if there is one and no doubt which.
    fn value<'a>(&self, identity: &'a Identity) -> Option<&'a str> {
        match self {
            Self::Entity(field) => field.of(&identity.id, &identity.name, &identity.metadata, None),
            Self::Alias { accessor, field } => {
                let alias = only(&identity.aliases, |alias| *alias.accessor == **accessor)?;
                let custom = Some(&alias.custom_metadata);
                field.of(&alias.id, &alias.name, &alias.metadata, custom)
            }
            Self::GroupById { id, field } => {
                let group = only(&identity.groups, |group| *group.id == **id)?;
                field.of(&group.id, &group.name, &group.metadata, None)
            }
            Self::GroupByName { name, field } => {
                let group = only(&identity.groups, |group| *group.name == **name)?;
                field.of(&group.id, &group.name, &group.metadata, None)
            }
        }
    }
}

impl Field {
    fn parse(text: &str, of_alias: bool) -> Result<Self, TemplateFault> {
        let key = |prefix: &str| text.strip_prefix(prefix).filter(|key| !key.is_empty());
        match text {
            "id" => return Ok(Self::Id),
            "name" => return Ok(Self::Name),
            "metadata" | "groups.names" | "groups.ids" => return Err(TemplateFault::List),
            "custom_metadata" if of_alias => return Err(TemplateFault::List),
            _ => {}
        }
        if let Some(key) = key("metadata.") {
            return Ok(Self::Metadata(key.into()));
        }
        match key("custom_metadata.").filter(|_| of_alias) {
            Some(key) => Ok(Self::CustomMetadata(key.into())),
            None => Err(TemplateFault::Unknown),
        }
    }

    fn of<'a>(
        &self,
        id: &'a str,
        name: &'a str,
        metadata: &'a BTreeMap<String, String>,
        custom: Option<&'a BTreeMap<String, String>>,
    ) -> Option<&'a str> {
        match self {
            Self::Id => Some(id),
            Self::Name => Some(name),
            Self::Metadata(key) => metadata.get(&**key).map(String::as_str),
            Self::CustomMetadata(key) => custom?.get(&**key).map(String::as_str),
        }
    }
}

/// `which.field`; what is selected has no dot in it, as in Vault.
fn named(rest: &str) -> Result<(Box<str>, &str), TemplateFault> {
    match rest.split_once('.') {
        Some((which, field)) if !which.is_empty() => Ok((which.into(), field)),
        _ => Err(TemplateFault::Unknown),
    }
}

fn only<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> Option<&T> {
    let mut found = all.iter().filter(|one| wanted(one));
    found.next().filter(|_| found.next().is_none())
}

/// Whether a value can stand in a path and mean nothing but itself.
fn is_fit(value: &str) -> bool {
    !value.is_empty()
        && !value.contains(['*', '+', '/', ',', '{', '}'])
        && RequestPath::from_text(value).is_ok()
}

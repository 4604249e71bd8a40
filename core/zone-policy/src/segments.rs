//! Patterns with `+`, as a tree of segments, so that a path meets only the patterns that begin
//! like it.

use crate::pattern::{Part, Pattern};

/// The tree. The root is node 0.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Next nodes by the text of a segment, sorted.
    texts: Vec<(Box<str>, usize)>,
    /// The next node for any segment.
    any: Option<usize>,
    /// The pattern that ends here.
    end: Option<usize>,
    /// Patterns whose rest begins so.
    rests: Vec<(Box<str>, usize)>,
}

impl Segments {
    /// Adds the pattern of the rule number `rule`; each pattern once.
    pub(crate) fn insert(&mut self, pattern: &Pattern, rule: usize) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for part in pattern.parts() {
            at = match part {
                Part::Rest(begin) => {
                    self.nodes[at].rests.push((begin.into(), rule));
                    return;
                }
                Part::Any => match self.nodes[at].any {
                    Some(next) => next,
                    None => {
                        let next = self.fresh();
                        self.nodes[at].any = Some(next);
                        next
                    }
                },
                Part::Text(text) => {
                    let texts = &self.nodes[at].texts;
                    match texts.binary_search_by(|(known, _)| (**known).cmp(text)) {
                        Ok(found) => texts[found].1,
                        Err(place) => {
                            let next = self.fresh();
                            self.nodes[at].texts.insert(place, (text.into(), next));
                            next
                        }
                    }
                }
            };
        }
        self.nodes[at].end = Some(rule);
    }

    fn fresh(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// Calls `found` with each rule whose pattern matches `path`. Visits a node at most once.
    pub(crate) fn matches(&self, path: &str, found: &mut impl FnMut(usize)) {
        if let Some(root) = self.nodes.first() {
            self.walk(root, Some(path), found);
        }
    }

    fn walk(&self, node: &Node, rest: Option<&str>, found: &mut impl FnMut(usize)) {
        let Some(rest) = rest else {
            node.end.into_iter().for_each(found);
            return;
        };
        for (begin, rule) in &node.rests {
            if rest.starts_with(&**begin) {
                found(*rule);
            }
        }
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Ok(at) = node
            .texts
            .binary_search_by(|(text, _)| (**text).cmp(segment))
        {
            self.walk(&self.nodes[node.texts[at].1], rest, found);
        }
        if let Some(next) = node.any {
            self.walk(&self.nodes[next], rest, found);
        }
    }
}

//! Watches: who touched keys below a prefix.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use zone_ports::Key;
use zone_ports::store::Revision;

/// One durable group, as watches get it.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub(super) revision: Revision,
    /// In key order.
    pub(super) keys: Arc<[Key]>,
}

/// What a watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A durable group touched these keys of the prefix, in key order.
    Changed {
        /// The group.
        revision: Revision,
        /// Written or removed: read them to see.
        keys: Vec<Key>,
    },
    /// Groups were missed: read everything below the prefix again, then go on watching.
    Resync,
}

/// Tells of durable groups, in order, each once. Start watching first, then read.
#[derive(Debug)]
pub struct Watch {
    prefix: Bytes,
    receiver: broadcast::Receiver<Committed>,
}

impl Watch {
    pub(super) fn new(prefix: Bytes, receiver: broadcast::Receiver<Committed>) -> Self {
        Self { prefix, receiver }
    }

    /// The next event; `None` once the committer writes no more. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            match self.receiver.recv().await {
                Ok(group) => {
                    let keys = below(&group.keys, &self.prefix);
                    if !keys.is_empty() {
                        return Some(WatchEvent::Changed {
                            revision: group.revision,
                            keys: keys.to_vec(),
                        });
                    }
                }
                Err(RecvError::Lagged(_)) => return Some(WatchEvent::Resync),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// The keys that begin with `prefix`. `keys` are sorted.
fn below<'a>(keys: &'a [Key], prefix: &[u8]) -> &'a [Key] {
    let from = keys.partition_point(|key| key.as_bytes() < prefix);
    let count = keys[from..].partition_point(|key| key.as_bytes().starts_with(prefix));
    &keys[from..from + count]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_sees_only_its_prefix() {
        let key = |text: &str| Key::new(text.to_owned()).unwrap();
        let keys = ["a", "b/", "b/1", "b/2", "b0", "c"].map(key);
        let seen = |prefix: &str| below(&keys, prefix.as_bytes()).to_vec();
        assert_eq!(seen("b/"), ["b/", "b/1", "b/2"].map(key));
        assert_eq!(seen(""), keys);
        assert_eq!(seen("bb"), Vec::<Key>::new());
        assert_eq!(seen("d"), Vec::<Key>::new());
    }
}

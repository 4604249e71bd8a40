//! The suite of `zone_ports::Store`, alone and under the committer.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tempfile::TempDir;
use zone_barrier::commit::{CommitOptions, Committer};
use zone_ports::store::{Op, Revision, WriteSet};
use zone_ports::{Key, Store};

pub mod contract;
pub mod groups;
pub mod model;

/// Opens the store at a path: the one that is there, or a new one. For a server's backend the
/// path is only a name.
pub type Opener = Box<dyn Fn(PathBuf) -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>;

/// Where one test's stores are.
pub struct Place {
    dir: TempDir,
    open: Opener,
}

impl Place {
    /// A new, empty one.
    pub fn new(open: Opener) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            open,
        }
    }

    /// Opens the test's own store, again if it was open before and everybody let go of it.
    pub async fn store(&self) -> Arc<dyn Store> {
        (self.open)(self.path("store")).await
    }

    /// Opens another store.
    pub async fn store_at(&self, name: &str) -> Arc<dyn Store> {
        (self.open)(self.path(name)).await
    }

    /// Where a store of that name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A committer over the test's own store.
    pub async fn committer(&self) -> Committer {
        Committer::open(self.store().await).await.unwrap()
    }

    /// The same with other options.
    pub async fn committer_with(&self, options: CommitOptions) -> Committer {
        Committer::open_with(self.store().await, options)
            .await
            .unwrap()
    }
}

/// A key of text.
pub fn key(text: impl Into<String>) -> Key {
    Key::new(text.into()).unwrap()
}

/// A write.
pub fn put(at: impl Into<String>, value: impl Into<Vec<u8>>) -> Op {
    Op::Put {
        key: key(at),
        value: Bytes::from(value.into()),
    }
}

/// A removal.
pub fn delete(at: impl Into<String>) -> Op {
    Op::Delete { key: key(at) }
}

/// A group under fence 1.
pub fn group(number: u64, ops: Vec<Op>) -> WriteSet {
    WriteSet {
        number: Revision(number),
        fence: 1,
        ops,
    }
}

/// Runs the whole suite: `store!(name, |place: PathBuf| async { Arc<dyn Store> })`. The calling
/// crate needs tokio.
#[macro_export]
macro_rules! store {
    ($name:ident, $open:expr) => {
        mod $name {
            use super::*;
            $crate::store! { @ $open;
                contract: what_is_written_is_read, keys_of_any_bytes_keep_their_order,
                    ranges_begin_and_end_where_they_say, pages_are_bounded,
                    a_group_is_the_next_one_or_none, s2_an_old_fence_is_refused,
                    removals_remove, the_largest_group_fits, s1_what_was_applied_is_there_again,
                    a_scan_sees_one_instant, a_read_sees_what_was_applied_before,
                    a_snapshot_is_one_instant_while_writers_go_on,
                    a_snapshot_replaces_no_file;
                model: a_random_history_is_the_models;
                groups: one_of_many_wins, no_increment_is_lost, batches_stay_whole,
                    a_revision_names_one_value, a_watch_tells_all_in_order,
                    a_slow_watch_is_told_to_resync, the_commit_log_tells_all,
                    the_commit_log_is_bounded, numbers_go_on_after_a_restart,
                    values_of_128_kib_go_through;
            }
        }
    };
    (@ $open:expr; $($module:ident: $($test:ident),+;)+) => {$(
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let open = $open;
                    let place = $crate::store::Place::new(Box::new(move |path| Box::pin(open(path))));
                    $crate::store::$module::$test(place).await;
                }
            )+
        }
    )+};
}

//! Stands in until the committer has these as inherent methods.
use zone_ports::store::{Op, Revision, Versioned};
use zone_ports::{Key, KeyRange};

use crate::BarrierError;
use crate::batch::Precondition;
use crate::commit::Committer;

pub(crate) trait Shim {
    async fn get(&self, _k: &Key) -> Result<Option<Versioned>, BarrierError> {
        unimplemented!()
    }
    async fn scan(&self, _r: &KeyRange, _l: usize) -> Result<Vec<(Key, Versioned)>, BarrierError> {
        unimplemented!()
    }
    async fn commit(&self, _o: Vec<Op>, _c: Vec<Precondition>) -> Result<Revision, BarrierError> {
        unimplemented!()
    }
    fn last_revision(&self) -> Revision {
        unimplemented!()
    }
    fn kind(&self) -> &'static str {
        unimplemented!()
    }
}
impl Shim for Committer {}

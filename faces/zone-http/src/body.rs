//! Bodies: reading one under limits, writing one whole.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// An answer's body: whole in memory, wiped by its owner if it held secrets.
pub(crate) type ReplyBody = Full<Bytes>;

/// A request's body and its share of the memory that bodies may take together.
pub(crate) struct Held {
    /// The bytes.
    pub(crate) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// Over [`limits::BODY`].
    TooLarge,
    /// All bodies together take too much at the moment.
    Busy,
    /// The client broke off.
    Broken,
}

/// Reads a body under the limits.
///
/// The share is taken by the announced length, or by the largest one if none was announced, in
/// KiB, before a byte is read: many clients that send large bodies slowly cannot take the memory
/// of the head.
pub(crate) async fn read(body: Incoming, memory: &Arc<Semaphore>) -> Result<Held, BodyFault> {
    if body.is_end_stream() {
        return Ok(Held {
            bytes: Bytes::new(),
            _share: None,
        });
    }
    let announced = body.size_hint().exact().unwrap_or(limits::BODY as u64);
    if announced > limits::BODY as u64 {
        return Err(BodyFault::TooLarge);
    }
    let kib = u32::try_from(announced.div_ceil(1024)).unwrap_or(u32::MAX);
    let share = memory
        .clone()
        .try_acquire_many_owned(kib)
        .map_err(|_| BodyFault::Busy)?;
    match Limited::new(body, limits::BODY).collect().await {
        Ok(whole) => Ok(Held {
            bytes: whole.to_bytes(),
            _share: Some(share),
        }),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
        Err(_) => Err(BodyFault::Broken),
    }
}

//! Bodies: reading one under limits, writing one whole. Both are wiped when they are dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use zeroize::Zeroizing;

use crate::limits;
use crate::stream::ReplyBody;

/// The memory that bodies may take together.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    /// In bytes.
    small: Arc<Semaphore>,
    /// Small bodies on their way.
    arriving: Arc<Mutex<Queue>>,
    /// In KiB.
    large: Arc<Semaphore>,
    /// In KiB.
    answers: Arc<Semaphore>,
}

/// Small bodies on their way, the oldest first.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    bodies: BTreeMap<u64, Part>,
}

#[derive(Debug, Default)]
struct Part {
    /// Bytes that came in.
    held: usize,
    /// Told to make room.
    leave: Arc<Notify>,
}

impl Queue {
    /// Tells the oldest bodies, but not `except`, to make room for `bytes`. Whether that is enough.
    fn make_room(&mut self, bytes: usize, except: u64) -> bool {
        let (mut freed, mut leaving) = (0, Vec::new());
        for (id, part) in self.bodies.iter().filter(|(id, _)| **id != except) {
            if freed >= bytes {
                break;
            }
            freed += part.held;
            leaving.push(*id);
        }
        if freed < bytes {
            return false;
        }
        for part in leaving.iter().filter_map(|id| self.bodies.remove(id)) {
            part.leave.notify_one();
        }
        true
    }
}

/// The place of one small body in the queue, until it has come in whole.
struct Place {
    id: u64,
    leave: Arc<Notify>,
    queue: Arc<Mutex<Queue>>,
}

impl Place {
    fn take(memory: &BodyMemory) -> Self {
        let mut queue = memory.arriving.lock();
        let (id, part) = (queue.next, Part::default());
        let leave = part.leave.clone();
        queue.next += 1;
        queue.bodies.insert(id, part);
        let queue = memory.arriving.clone();
        Self { id, leave, queue }
    }

    /// The share of `bytes` more, for which older bodies must leave if there is no room.
    async fn share(
        &self,
        small: &Arc<Semaphore>,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, BodyFault> {
        let share = match share(small, bytes as u64) {
            Ok(share) => share,
            Err(_) if self.queue.lock().make_room(bytes, self.id) => {
                let count = u32::try_from(bytes).unwrap_or(u32::MAX);
                let room = small.clone().acquire_many_owned(count);
                room.await.map_err(|_| BodyFault::Busy)?
            }
            Err(busy) => return Err(busy),
        };
        if let Some(part) = self.queue.lock().bodies.get_mut(&self.id) {
            part.held += bytes;
        }
        Ok(share)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.lock().bodies.remove(&self.id);
    }
}

impl Default for BodyMemory {
    fn default() -> Self {
        Self {
            small: Arc::new(Semaphore::new(limits::SMALL_BODIES)),
            arriving: Arc::default(),
            large: Arc::new(Semaphore::new(limits::BODIES / 1024)),
            answers: Arc::new(Semaphore::new(limits::ANSWERS / 1024)),
        }
    }
}

/// A request's body and its share of the memory.
#[derive(Default)]
pub(crate) struct Held {
    /// The bytes.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
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
/// A large one takes its share by the announced length before a byte is read: many clients that
/// send large bodies slowly cannot take the memory of the head. A small one takes its share as
/// it comes in: those clients cannot keep others from sending what is usual either. If all small
/// ones together leave no room, those that began first and have not ended make it: a usual client
/// is done in milliseconds, one that stops before the end is not.
pub(crate) async fn read<B>(body: B, memory: &BodyMemory) -> Result<Held, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        // As most requests: nothing comes, nothing is held.
        return Ok(Held::default());
    }
    let place = Place::take(memory);
    tokio::select! {
        biased;
        () = place.leave.notified() => Err(BodyFault::Busy),
        held = read_in(body, memory, &place) => held,
    }
}

async fn read_in<B>(mut body: B, memory: &BodyMemory, place: &Place) -> Result<Held, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut held = Held::default();
    match body.size_hint().exact() {
        Some(announced) if announced > limits::BODY as u64 => return Err(BodyFault::TooLarge),
        Some(announced) if announced > limits::SMALL_BODY as u64 => {
            held.large = Some(share(&memory.large, announced.div_ceil(1024))?);
        }
        _ => {}
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyFault::Broken)?;
        if let Ok(data) = frame.into_data() {
            held.take(&data, memory, place).await?;
        }
    }
    Ok(held)
}

impl Held {
    async fn take(
        &mut self,
        data: &[u8],
        memory: &BodyMemory,
        place: &Place,
    ) -> Result<(), BodyFault> {
        let len = self.bytes.len() + data.len();
        if len > limits::BODY {
            return Err(BodyFault::TooLarge);
        }
        if self.large.is_none() && len > limits::SMALL_BODY {
            // Its length was not announced: it may become as long as any.
            self.large = Some(share(&memory.large, (limits::BODY / 1024) as u64)?);
            self.small = None;
        }
        if self.large.is_none() && !data.is_empty() {
            let more = place.share(&memory.small, data.len()).await?;
            match &mut self.small {
                Some(small) => small.merge(more),
                None => self.small = Some(more),
            }
        }
        self.push(data);
        Ok(())
    }

    /// Appends; a buffer that was too small is wiped.
    fn push(&mut self, data: &[u8]) {
        let len = self.bytes.len() + data.len();
        if len > self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(len.max(self.bytes.capacity() * 2)));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(data);
    }
}

fn share(of: &Arc<Semaphore>, count: u64) -> Result<OwnedSemaphorePermit, BodyFault> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    of.clone()
        .try_acquire_many_owned(count)
        .map_err(|_| BodyFault::Busy)
}

/// Told when a large answer is with the system or its connection is gone.
pub(crate) type Taken = oneshot::Receiver<()>;

/// An answer until it is with the system.
struct Sent {
    body: Zeroizing<Vec<u8>>,
    _share: Option<OwnedSemaphorePermit>,
    _taken: Option<oneshot::Sender<()>>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// A body for the wire. A large one holds its share of the memory until the client took it.
pub(crate) fn reply(
    body: Zeroizing<Vec<u8>>,
    memory: &BodyMemory,
) -> Result<(ReplyBody, Option<Taken>), BodyFault> {
    if body.is_empty() {
        return Ok((ReplyBody::default(), None));
    }
    let (mut share_of, mut tell, mut taken) = (None, None, None);
    if body.len() >= limits::LARGE_ANSWER {
        share_of = Some(share(&memory.answers, body.len().div_ceil(1024) as u64)?);
        let (sender, receiver) = oneshot::channel();
        (tell, taken) = (Some(sender), Some(receiver));
    }
    let sent = Sent {
        body,
        _share: share_of,
        _taken: tell,
    };
    Ok((ReplyBody::Whole(Full::new(Bytes::from_owner(sent))), taken))
}

#[cfg(test)]
mod tests {
    use crate::testing::slow;

    use super::*;

    const MIB: usize = 1024 * 1024;

    async fn whole(size: usize, announced: bool, memory: &BodyMemory) -> Result<Held, BodyFault> {
        let (sender, body) = slow(announced.then_some(size));
        for at in (0..size).step_by(MIB) {
            let part = vec![b'x'; MIB.min(size - at)];
            sender.send(part.into()).unwrap();
        }
        drop(sender);
        read(body, memory).await
    }

    #[tokio::test]
    async fn bodies_are_read_whole_up_to_the_limit() {
        let memory = BodyMemory::default();
        for announced in [true, false] {
            for size in [
                0,
                1,
                limits::SMALL_BODY,
                limits::SMALL_BODY + 1,
                limits::BODY,
            ] {
                let held = whole(size, announced, &memory).await.ok();
                assert_eq!(held.map(|held| held.bytes.len()), Some(size));
            }
            let over = whole(limits::BODY + 1, announced, &memory).await.err();
            assert_eq!(over, Some(BodyFault::TooLarge));
        }
        assert_eq!(memory.large.available_permits(), limits::BODIES / 1024);
        assert_eq!(memory.small.available_permits(), limits::SMALL_BODIES);
    }

    #[tokio::test]
    async fn cve_2024_8185_slow_large_bodies_leave_room_for_usual_ones() {
        let memory = Arc::new(BodyMemory::default());
        let mut attackers = Vec::new();
        for _ in 0..limits::BODIES / limits::BODY {
            let (sender, body) = slow(Some(limits::BODY));
            let memory = memory.clone();
            let reading = tokio::spawn(async move { read(body, &memory).await.is_ok() });
            attackers.push((sender, reading));
        }
        while memory.large.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = whole(MIB, true, &memory).await.err();
        assert_eq!(refused, Some(BodyFault::Busy));
        let refused = whole(MIB, false, &memory).await.err();
        assert_eq!(refused, Some(BodyFault::Busy));
        for announced in [true, false] {
            assert!(whole(limits::SMALL_BODY, announced, &memory).await.is_ok());
        }
        for (sender, reading) in attackers {
            drop(sender);
            assert!(reading.await.unwrap());
        }
        assert!(whole(MIB, true, &memory).await.is_ok());
    }

    /// Who announces and sends nothing takes nothing.
    #[tokio::test]
    async fn attack_small_bodies_that_never_come_take_no_memory() {
        let memory = Arc::new(BodyMemory::default());
        let (sender, body) = slow(Some(limits::SMALL_BODY));
        let reading = {
            let memory = memory.clone();
            tokio::spawn(async move { read(body, &memory).await.is_ok() })
        };
        sender.send(Bytes::from_static(b"{")).unwrap();
        while memory.small.available_permits() == limits::SMALL_BODIES {
            tokio::task::yield_now().await;
        }
        assert_eq!(memory.small.available_permits(), limits::SMALL_BODIES - 1);
        reading.abort();
        assert!(reading.await.is_err());
        assert_eq!(memory.small.available_permits(), limits::SMALL_BODIES);
    }

    /// More than there is room for, each stopping one byte before the end: the oldest leave.
    #[tokio::test]
    async fn attack_small_bodies_that_stop_before_their_end_leave_room() {
        let memory = Arc::new(BodyMemory::default());
        let mut attackers = Vec::new();
        for _ in 0..limits::SMALL_BODIES / limits::SMALL_BODY + 40 {
            let (sender, body) = slow(Some(limits::SMALL_BODY));
            let part = vec![b'x'; limits::SMALL_BODY - 1];
            sender.send(part.into()).unwrap();
            let memory = memory.clone();
            let reading = tokio::spawn(async move { read(body, &memory).await.err() });
            attackers.push((sender, reading));
            tokio::task::yield_now().await;
        }
        for announced in [true, false] {
            assert!(whole(4096, announced, &memory).await.is_ok());
            assert!(whole(limits::SMALL_BODY, announced, &memory).await.is_ok());
        }
        let (_, oldest) = attackers.remove(0);
        assert_eq!(oldest.await.unwrap(), Some(BodyFault::Busy));
        let (sender, youngest) = attackers.pop().unwrap();
        assert!(!youngest.is_finished());
        drop(sender);
        assert_eq!(youngest.await.unwrap(), None);
        for (_, reading) in attackers {
            reading.abort();
            reading.await.ok();
        }
        assert_eq!(memory.small.available_permits(), limits::SMALL_BODIES);
        assert!(memory.arriving.lock().bodies.is_empty());
    }

    /// Bodies that came in whole and are being served keep their room: nobody waits for them.
    #[tokio::test]
    async fn bodies_that_are_served_do_not_leave() {
        let memory = BodyMemory::default();
        let mut served = Vec::new();
        for _ in 0..limits::SMALL_BODIES / limits::SMALL_BODY {
            served.push(whole(limits::SMALL_BODY, true, &memory).await.ok().unwrap());
        }
        assert_eq!(whole(1, true, &memory).await.err(), Some(BodyFault::Busy));
        served.pop();
        assert!(whole(1, true, &memory).await.is_ok());
    }

    #[tokio::test]
    async fn attack_large_answers_that_nobody_takes_are_bounded() {
        let memory = BodyMemory::default();
        let answer = || reply(Zeroizing::new(vec![1; 64 * MIB]), &memory);
        let mut waiting = Vec::new();
        for _ in 0..4 {
            waiting.push(answer().unwrap());
        }
        assert_eq!(answer().err(), Some(BodyFault::Busy));
        assert!(
            reply(Zeroizing::new(vec![1; 1000]), &memory)
                .unwrap()
                .1
                .is_none()
        );
        let (body, taken) = waiting.pop().unwrap();
        drop(body);
        assert!(taken.unwrap().await.is_err(), "told that it is gone");
        assert!(answer().is_ok());
    }
}

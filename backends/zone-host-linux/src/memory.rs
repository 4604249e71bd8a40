//! Pages for keys: never swapped, never in a core dump, not inherited, wiped when freed.
//!
//! memfd_secret(2) pages are also missing from the kernel's own map of memory; where the kernel
//! has them switched off, ordinary pages are locked instead. Only these pages are locked (never
//! the whole process), so a `LimitMEMLOCK` of a few pages is enough. One page holds 128 keys.
//!
//! Deliberately absent: guard pages and mprotect(2). A stray write of safe Rust cannot reach
//! here, and an attacker who runs code in this process can call mprotect too.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};
use zeroize::Zeroize;
use zone_ports::{LockedBytes, MemoryError, SecretMemory};

const PAGE: usize = 4096;
const SLOT: usize = 32;
const SLOTS: usize = PAGE / SLOT;

/// What the kernel gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// memfd_secret(2).
    SecretPages,
    /// mlock(2) with `MADV_DONTDUMP` and `MADV_WIPEONFORK`.
    LockedPages,
}

/// Gives out locked memory.
#[derive(Debug)]
pub struct LockedMemory {
    protection: Protection,
    /// The page that still has room. Full pages live on through their keys.
    current: Mutex<Arc<Page>>,
}

impl LockedMemory {
    /// Takes the first page, so that a limit too low for it is found at the start.
    pub fn new() -> Result<Self, MemoryError> {
        match Page::secret() {
            Ok(page) => Ok(Self::of(Protection::SecretPages, page)),
            Err(_) => Self::locked_pages(),
        }
    }

    /// Uses mlock(2) even where memfd_secret(2) would work.
    pub fn locked_pages() -> Result<Self, MemoryError> {
        let page = Page::locked().map_err(MemoryError)?;
        Ok(Self::of(Protection::LockedPages, page))
    }

    /// What the kernel gave, for the log.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    fn of(protection: Protection, page: Page) -> Self {
        Self {
            protection,
            current: Mutex::new(Arc::new(page)),
        }
    }

    fn fresh_page(&self) -> io::Result<Page> {
        match self.protection {
            Protection::SecretPages => Page::secret(),
            Protection::LockedPages => Page::locked(),
        }
    }
}

impl SecretMemory for LockedMemory {
    fn lock(&self, key: &mut [u8; 32]) -> Result<Box<dyn LockedBytes>, MemoryError> {
        let mut current = self.current.lock();
        let slot = match current.take_slot() {
            Some(slot) => slot,
            None => {
                *current = Arc::new(self.fresh_page().map_err(MemoryError)?);
                current.take_slot().expect("a fresh page has room")
            }
        };
        let locked = LockedKey {
            page: current.clone(),
            slot,
        };
        drop(current);
        // SAFETY: the slot lies inside the page, which `locked` keeps mapped, and `take_slot`
        // gave it to this key alone, so nothing else refers to these bytes.
        unsafe { locked.bytes().write(*key) };
        key.zeroize();
        Ok(Box::new(locked))
    }
}

/// One key in a slot of its own.
#[derive(Debug)]
struct LockedKey {
    page: Arc<Page>,
    slot: usize,
}

impl LockedKey {
    fn bytes(&self) -> *mut [u8; SLOT] {
        // SAFETY: `take_slot` gives slots below SLOTS only, so the result is inside the page.
        unsafe { self.page.start.as_ptr().add(self.slot * SLOT) }.cast()
    }
}

impl LockedBytes for LockedKey {
    fn expose(&self) -> &[u8; 32] {
        // SAFETY: the slot belongs to this key from `lock` to `drop`; it was written before
        // anyone else saw the key, and is next written in `drop`, which needs `&mut self`.
        unsafe { &*self.bytes() }
    }
}

impl Drop for LockedKey {
    fn drop(&mut self) {
        // SAFETY: as in `expose`; `&mut self` proves that no reference is left.
        let bytes = unsafe { &mut *self.bytes() };
        bytes.zeroize();
        self.page.free_slot(self.slot);
    }
}

/// One mapped page.
#[derive(Debug)]
struct Page {
    start: NonNull<u8>,
    /// One bit for each slot in use.
    used: Mutex<u128>,
}

// SAFETY: the page is plain memory that any thread may touch; who may touch which slot is
// settled by `used`, which is behind a lock.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// A page of memfd_secret(2): locked and left out of dumps by its nature.
    fn secret() -> io::Result<Self> {
        let file = memfd_secret()?;
        rustix::fs::ftruncate(&file, PAGE as u64)?;
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a null hint lets the kernel choose a free range, so no mapping of ours is
        // replaced; the file is ours alone and one page long.
        let start = unsafe { mmap(std::ptr::null_mut(), PAGE, prot, flags, &file, 0) }?;
        let page = Self::at(start)?;
        page.advise(Advice::LinuxDontFork)?;
        page.touch();
        Ok(page)
    }

    /// An ordinary page, locked.
    fn locked() -> io::Result<Self> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a null hint lets the kernel choose a free range, so no mapping of ours is
        // replaced.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), PAGE, prot, flags) }?;
        let page = Self::at(start)?;
        // SAFETY: locking changes where the page may live, not what it holds.
        unsafe { mlock(start, PAGE) }?;
        page.advise(Advice::LinuxDontDump)?;
        page.advise(Advice::LinuxWipeOnFork)?;
        page.touch();
        Ok(page)
    }

    fn at(start: *mut core::ffi::c_void) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            used: Mutex::new(0),
        })
    }

    fn advise(&self, advice: Advice) -> io::Result<()> {
        // SAFETY: the advice given here (dump and fork behaviour) does not change what this
        // process sees in the page.
        unsafe { madvise(self.start.as_ptr().cast(), PAGE, advice) }?;
        Ok(())
    }

    /// Makes the kernel back the page now: a limit shows here and not as a signal later.
    fn touch(&self) {
        // SAFETY: the page is mapped for writing and nobody else knows of it yet.
        unsafe { self.start.as_ptr().write_volatile(0) };
    }

    fn take_slot(&self) -> Option<usize> {
        let mut used = self.used.lock();
        let slot = used.trailing_ones() as usize;
        (slot < SLOTS).then(|| {
            *used |= 1 << slot;
            slot
        })
    }

    fn free_slot(&self, slot: usize) {
        *self.used.lock() &= !(1 << slot);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Each key wiped its slot. SAFETY: keys hold the page by `Arc`, so none is left, and
        // the range is the one that was mapped.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), PAGE) };
        debug_assert!(unmapped.is_ok(), "a mapped page can be unmapped");
    }
}

/// memfd_secret(2), for which neither libc nor rustix has a wrapper. Fails with `ENOSYS` where
/// the kernel has it switched off (`secretmem.enable=0`, the default before Linux 6.5).
fn memfd_secret() -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the call takes one integer and touches no memory of ours.
    let number = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    match i32::try_from(number) {
        // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Vec<LockedMemory> {
        vec![
            LockedMemory::new().unwrap(),
            LockedMemory::locked_pages().unwrap(),
        ]
    }

    /// The `VmFlags` of the mapping that holds `address`, as smaps(5) shows them.
    fn flags_at(address: usize) -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range {
                let [from, to] = [from, to].map(|hex| usize::from_str_radix(hex, 16));
                if let (Ok(from), Ok(to)) = (from, to) {
                    inside = (from..to).contains(&address);
                }
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                return flags.split_whitespace().map(str::to_owned).collect();
            }
        }
        panic!("the page is not mapped")
    }

    #[test]
    fn a_key_is_moved_not_copied() {
        for memory in both() {
            let mut key = [7; 32];
            let locked = memory.lock(&mut key).unwrap();
            assert_eq!(locked.expose(), &[7; 32]);
            assert_eq!(key, [0; 32]);
            assert_eq!(format!("{:?}", &*locked), "[locked]");
        }
    }

    #[test]
    fn pages_are_locked_and_stay_out_of_dumps_and_children() {
        for memory in both() {
            let locked = memory.lock(&mut [7; 32]).unwrap();
            let flags = flags_at(locked.expose().as_ptr() as usize);
            let has = |flag: &str| flags.iter().any(|other| other == flag);
            assert!(has("lo"), "locked: {flags:?}");
            assert!(has("dd"), "not dumped: {flags:?}");
            match memory.protection() {
                Protection::SecretPages => assert!(has("dc"), "not inherited: {flags:?}"),
                Protection::LockedPages => assert!(has("wf"), "wiped in children: {flags:?}"),
            }
        }
    }

    #[test]
    fn dropping_a_key_wipes_its_slot_and_no_other() {
        for memory in both() {
            let first = memory.lock(&mut [1; 32]).unwrap();
            let second = memory.lock(&mut [2; 32]).unwrap();
            let page = memory.current.lock().clone();
            let keys = page.start.as_ptr().cast::<[u8; 32]>();
            let look = |slot: usize| {
                // SAFETY: slots are inside the page, which `page` keeps mapped.
                let key = unsafe { keys.add(slot) };
                // SAFETY: as above, and no other thread knows of this memory.
                unsafe { key.read() }
            };
            assert_eq!((look(0), look(1)), ([1; 32], [2; 32]));
            drop(first);
            assert_eq!((look(0), look(1)), ([0; 32], [2; 32]));
            let third = memory.lock(&mut [3; 32]).unwrap();
            assert_eq!((look(0), look(1)), ([3; 32], [2; 32]));
            drop((second, third));
            assert_eq!((look(0), look(1)), ([0; 32], [0; 32]));
        }
    }

    #[test]
    fn keys_beyond_one_page_get_another() {
        for memory in both() {
            let keys: Vec<_> = (0..=255)
                .map(|n| memory.lock(&mut [n; 32]).unwrap())
                .collect();
            for (n, key) in keys.iter().enumerate() {
                assert_eq!(key.expose(), &[n as u8; 32]);
            }
        }
    }
}

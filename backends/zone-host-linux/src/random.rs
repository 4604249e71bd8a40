//! The kernel's generator, getrandom(2).

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use zone_ports::Random;

/// Random bytes from the kernel. At boot it waits until the kernel has gathered enough.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, mut out: &mut [u8]) {
        while !out.is_empty() {
            match getrandom(&mut *out, GetRandomFlags::empty()) {
                Ok(count) => out = &mut out[count..],
                Err(Errno::INTR) => {}
                Err(_) => give_up(),
            }
        }
    }
}

/// The port's contract: a generator that fails ends the process rather than return weak bytes.
/// getrandom(2) cannot fail on a supported kernel once its arguments are right.
fn give_up() -> ! {
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_every_byte_of_any_length() {
        OsRandom.fill(&mut []);
        let mut seen = vec![0u8; 5000];
        for _ in 0..4 {
            let mut bytes = vec![0u8; 5000];
            OsRandom.fill(&mut bytes);
            seen.iter_mut()
                .zip(bytes)
                .for_each(|(seen, byte)| *seen |= byte);
        }
        // A byte stays zero through four draws with chance 2^-32.
        assert!(seen.iter().filter(|byte| **byte == 0).count() < 3);
    }
}

//! Inputs from seeds: input `n` is a function of the target, the run's seed and `n`.

/// Longest input, in bytes. Longer ones find little that these do not and cost much.
const LONGEST: usize = 4096;

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    words: &'a [&'a str],
    run: u64,
}

impl<'a> Mutator<'a> {
    /// From seeds (at least one), the words of the input's language, and the run's seed.
    pub fn new(seeds: &'a [Vec<u8>], words: &'a [&'a str], run: u64) -> Self {
        Self { seeds, words, run }
    }

    /// Input number `n`. The first ones are the seeds themselves.
    pub fn input(&self, n: u64) -> Vec<u8> {
        if let Some(seed) = usize::try_from(n).ok().and_then(|n| self.seeds.get(n)) {
            return seed.clone();
        }
        let mut draw = Draw(self.run ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut data = self.seed(&mut draw).to_vec();
        for _ in 0..=draw.below(6) {
            self.mutate(&mut data, &mut draw);
        }
        data.truncate(LONGEST);
        data
    }

    fn seed(&self, draw: &mut Draw) -> &[u8] {
        match self.seeds.len() {
            0 => &[],
            count => &self.seeds[draw.below(count)],
        }
    }

    fn mutate(&self, data: &mut Vec<u8>, draw: &mut Draw) {
        let (from, to) = draw.range(data.len());
        match draw.below(10) {
            0 if from < data.len() => data[from] ^= 1 << draw.below(8),
            1 if from < data.len() => data[from] = [0, 0xff, 0x7f, 0x80, b'"', b'/'][draw.below(6)],
            2 if from < data.len() => data[from] = draw.byte(),
            3 => drop(data.drain(from..to)),
            4 => data.truncate(from),
            5 => {
                // A piece many times over: depth and length.
                let piece = data[from..to.min(from + 32)].to_vec();
                let times = 1 << draw.below(9);
                data.splice(from..from, piece.repeat(times).into_iter().take(LONGEST));
            }
            6 => {
                let other = self.seed(draw);
                let (begin, end) = draw.range(other.len());
                data.splice(from..to, other[begin..end].iter().copied());
            }
            7 => {
                let fresh: Vec<u8> = (0..draw.below(8)).map(|_| draw.byte()).collect();
                data.splice(from..from, fresh);
            }
            _ if !self.words.is_empty() => {
                let word = self.words[draw.below(self.words.len())].bytes();
                let to = if draw.below(2) == 0 { from } else { to };
                data.splice(from..to, word);
            }
            _ => data.push(draw.byte()),
        }
        data.truncate(LONGEST);
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to strew with.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Below `bound`; 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize {
        match u64::try_from(bound) {
            Ok(0) | Err(_) => 0,
            Ok(bound) => usize::try_from(self.next() % bound).unwrap_or(0),
        }
    }

    /// A range inside `0..len`, mostly short.
    fn range(&mut self, len: usize) -> (usize, usize) {
        let from = self.below(len + 1);
        let most = if self.below(4) == 0 { len } else { 16 };
        (from, len.min(from + self.below(most + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_depends_on_seed_and_number_only() {
        let seeds = [b"hello world".to_vec()];
        let make = |run, n| Mutator::new(&seeds, &["word"], run).input(n);
        assert_eq!(make(1, 0), b"hello world");
        assert_eq!(make(1, 77), make(1, 77));
        let differs = |other: fn(u64) -> (u64, u64)| {
            (1..200)
                .filter(|n| make(1, *n) != make(other(*n).0, other(*n).1))
                .count()
        };
        assert!(differs(|n| (2, n)) > 150);
        assert!(differs(|n| (1, n + 1)) > 150);
    }

    #[test]
    fn inputs_stay_bounded_and_no_seed_is_no_trouble() {
        let seeds = [vec![b'['; 3000]];
        for n in 0..5000 {
            assert!(Mutator::new(&seeds, &[], 3).input(n).len() <= LONGEST);
            assert!(Mutator::new(&[], &["w"], 3).input(n).len() <= LONGEST);
        }
    }
}

//! Damage: what bytes become on the way from a stranger.

use rand::RngExt as _;
use rand::rngs::StdRng;

/// Longest input made from nothing.
const FRESH_MAX: usize = 400;
/// Most changes of one sample.
const CHANGES_MAX: usize = 6;
/// Bytes that mean something in many formats: ends of ranges, marks, lengths, digits, brackets.
const TELLING: [u8; 16] = [0, 1, 2, 3, 0x10, 0x40, 0x77, 0x7f, 0x80, 0xfe, 0xff, b'0', b'"', b'{', b'-', b'A'];

/// An endless source of inputs.
pub(super) struct Mutator<'a> {
    random: StdRng,
    samples: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    pub(super) const fn new(random: StdRng, samples: &'a [Vec<u8>]) -> Self {
        Self { random, samples }
    }

    /// The next input: mostly a damaged sample, now and then bytes from nowhere.
    pub(super) fn input(&mut self) -> Vec<u8> {
        if self.samples.is_empty() || self.random.random_range(0..16) == 0 {
            return self.fresh();
        }
        let mut bytes = self.sample();
        for _ in 0..self.random.random_range(1..=CHANGES_MAX) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn sample(&mut self) -> Vec<u8> {
        self.samples[self.random.random_range(0..self.samples.len())].clone()
    }

    fn byte(&mut self) -> u8 {
        if self.random.random_range(0..2) == 0 {
            TELLING[self.random.random_range(0..TELLING.len())]
        } else {
            self.random.random_range(0..=u8::MAX)
        }
    }

    fn fresh(&mut self) -> Vec<u8> {
        let length = self.random.random_range(0..=FRESH_MAX);
        (0..length).map(|_| self.byte()).collect()
    }

    /// A place in the bytes, or their end.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.random.random_range(0..=bytes.len())
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.place(bytes);
        let to = (at + self.random.random_range(1..=33)).min(bytes.len());
        match self.random.random_range(0..9) {
            0 => bytes.truncate(at),
            1 => {
                let more = self.byte();
                bytes.insert(at, more);
            }
            2 => drop(bytes.drain(at..to)),
            3 => {
                let part = bytes[at..to].to_vec();
                let place = self.place(bytes);
                drop(bytes.splice(place..place, part));
            }
            4 => {
                // The head of this and the tail of another.
                let other = self.sample();
                let from = self.place(&other);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            5 => {
                let byte = self.byte();
                bytes[at..to].fill(byte);
            }
            6 | 7 => {
                let byte = self.byte();
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
            _ => {
                let bit = self.random.random_range(0..8);
                if let Some(old) = bytes.get_mut(at) {
                    *old ^= 1 << bit;
                }
            }
        }
    }
}

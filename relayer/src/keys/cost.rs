//! What one guess at a passphrase costs: the parameters of Argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of the salt (RFC 9106 section 3.1 recommends 16).
pub(super) const SALT_BYTES: usize = 16;

/// Parameters of Argon2id. They stand in the file, so that a stronger choice of later stays readable by earlier files' rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes, which an attacker may compute at once.
    pub lanes: u32,
}

/// How weak a key derivation may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// [`Cost::STANDARD`] at least: every group that serves a real chain.
    Standard,
    /// Anything: a group of development chains only, whose keys are worth nothing and whose start should not take a second
    /// for each member.
    Development,
}

impl Cost {
    /// The second recommended option of RFC 9106 section 4: 64 MiB, three passes, four lanes.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// For development networks and tests: no protection at all.
    pub const QUICK: Self = Self { memory_kib: 64, passes: 1, lanes: 1 };
    /// What a file may ask for: opening it must not take the machine down.
    const MOST: Self = Self { memory_kib: 4 * 1024 * 1024, passes: 64, lanes: 64 };

    /// Refuses what is too weak, too expensive, or no parameters at all.
    pub(super) fn check(self, floor: Floor) -> Result<(), CostError> {
        let Self { memory_kib, passes, lanes } = self;
        let Self { memory_kib: most_memory, passes: most_passes, lanes: most_lanes } = Self::MOST;
        if memory_kib > most_memory || passes > most_passes || lanes > most_lanes {
            return Err(CostError::Excessive(self));
        }
        let is_weak = memory_kib < Self::STANDARD.memory_kib || passes < Self::STANDARD.passes;
        if is_weak && floor == Floor::Standard {
            return Err(CostError::Weak(self));
        }
        self.params().map(|_| ())
    }

    fn params(self) -> Result<Params, CostError> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| CostError::Impossible(self))
    }

    /// 32 bytes from a passphrase.
    pub(super) fn derive(self, passphrase: &str, salt: &[u8; SALT_BYTES]) -> Result<Zeroizing<[u8; 32]>, CostError> {
        let impossible = |_| CostError::Impossible(self);
        let params = self.params()?;
        let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.as_bytes(), salt, key.as_mut_slice(), memory.as_mut_slice())
            .map_err(impossible)?;
        Ok(key)
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Argon2id with {} KiB, {} passes, {} lanes", self.memory_kib, self.passes, self.lanes)
    }
}

/// Why parameters are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CostError {
    /// A passphrase could be guessed too fast.
    #[error(
        "its passphrase is protected by {0} only, and {least} is the least outside of development networks: \
         `lockstep keys change-passphrase` writes it anew",
        least = Cost::STANDARD
    )]
    Weak(Cost),
    /// It could not be opened in reasonable time.
    #[error("it asks for {0}, which no file of ours does")]
    Excessive(Cost),
    /// No parameters of Argon2.
    #[error("{0} does not exist")]
    Impossible(Cost),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_below_the_floor_or_above_reason_should_be_refused() {
        let standard = Cost::STANDARD;
        for weak in [
            Cost::QUICK,
            Cost { memory_kib: standard.memory_kib - 1, ..standard },
            Cost { passes: standard.passes - 1, ..standard },
        ] {
            assert_eq!(weak.check(Floor::Standard), Err(CostError::Weak(weak)));
            assert_eq!(weak.check(Floor::Development), Ok(()));
        }
        for excessive in [
            Cost { memory_kib: u32::MAX, ..standard },
            Cost { passes: u32::MAX, ..standard },
            Cost { lanes: u32::MAX, ..standard },
        ] {
            assert_eq!(excessive.check(Floor::Development), Err(CostError::Excessive(excessive)));
        }
        for impossible in [Cost { lanes: 0, ..standard }, Cost { memory_kib: 7, passes: 1, lanes: 1 }] {
            assert_eq!(impossible.check(Floor::Development), Err(CostError::Impossible(impossible)));
        }
        assert_eq!(standard.check(Floor::Standard), Ok(()));
    }

    /// A value of the reference implementation (`argon2 somesalt16bytes! -id -t 2 -k 64 -p 1 -l 32`) cannot be had without
    /// it; RFC 9106 section 5.3 needs a secret and associated data, which a passphrase file has not. So the crate is held to
    /// the properties that the file relies on, and to its own vectors.
    #[test]
    fn derived_keys_should_depend_on_passphrase_salt_and_cost() {
        let derive = |passphrase: &str, salt: u8, cost: Cost| *cost.derive(passphrase, &[salt; 16]).expect("a key");
        let one = derive("one", 1, Cost::QUICK);
        assert_eq!(one, derive("one", 1, Cost::QUICK));
        let others = [
            derive("two", 1, Cost::QUICK),
            derive("one", 2, Cost::QUICK),
            derive("one", 1, Cost { passes: 2, ..Cost::QUICK }),
            derive("one", 1, Cost { memory_kib: 72, ..Cost::QUICK }),
        ];
        assert!(others.iter().all(|other| *other != one));
    }
}

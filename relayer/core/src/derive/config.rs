//! What every derivation reads and no configuration file may change afterwards: only a decision can.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::operation::Caps;
use crate::trace::ChainId;
use crate::{Amount, AssetId, Mix};

/// Inputs of one derived transaction on the real ledger (kernel: at most 256).
pub const INPUTS_MAX: usize = 255;
/// Coins that a payout may sweep up beyond what it needs (DERIVATION.md B5).
pub const SWEEP_MAX: usize = 16;
/// Bytes of an outbound's memo (DESIGN.md section 9).
pub const MEMO_MAX: usize = 200;
/// Most of an asset that one call may carry, in 10⁻⁸ units. Anybody can issue an asset and pay any amount of it: a book or
/// a coin list of 128 bits is full only after 2³² such payments, so that nobody can halt the group by an overflow.
pub const AMOUNT_MAX: Amount = Amount::from_units((1 << 96) - 1);
/// One hour of block time, the first window of [`Caps`].
pub const HOUR_NS: u64 = 3_600_000_000_000;
/// One day of block time, the second window of [`Caps`].
pub const DAY_NS: u64 = 24 * HOUR_NS;

/// The rules at sequence 0, from the group file. Equal at all members; limits of transactions are fields so that tests can
/// make them small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Members and threshold of generation 0, as the ledger sees them.
    pub group: Mix,
    /// Price of a registration.
    pub fee: Fee,
    /// The rule of every asset that [`Config::assets`] does not name.
    pub default: AssetRule,
    /// Rules of single assets.
    pub assets: BTreeMap<AssetId, AssetRule>,
    /// The chains that processes can register for, with their static maxima.
    pub chains: BTreeMap<ChainId, ChainRule>,
    /// Caps of payouts; what is not named has none.
    pub caps: BTreeMap<ChainId, BTreeMap<AssetId, Caps>>,
    /// Escrow of a recipient never seen as a sender, in nanoseconds of ledger time.
    pub delay_unknown_ns: u64,
    /// Escrow of a payout above a cap, in nanoseconds of ledger time.
    pub delay_over_ns: u64,
    /// Length of the hourly window in nanoseconds of block time ([`HOUR_NS`]).
    pub window_hour_ns: u64,
    /// Length of the daily window in nanoseconds of block time ([`DAY_NS`]).
    pub window_day_ns: u64,
    /// Most inputs of a derived transaction ([`INPUTS_MAX`]).
    pub inputs_max: usize,
    /// Most coins swept by a payout ([`SWEEP_MAX`]).
    pub sweep_max: usize,
    /// Longest memo of an outbound in bytes ([`MEMO_MAX`]).
    pub memo_max: usize,
}

/// Price of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    /// The asset it is paid in.
    pub asset: AssetId,
    /// The least that is taken.
    pub amount: Amount,
}

/// Bounds of deposits of one asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssetRule {
    /// The least that becomes a call.
    pub minimum: Amount,
    /// The least that is refunded: below it a refund costs more than it returns.
    pub floor: Amount,
}

/// Static maxima of one chain: a message must always fit one transaction there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainRule {
    /// Longest payload of a call in bytes.
    pub payload_max: usize,
    /// Highest gas limit that a process may ask for.
    pub gas_max: u32,
}

impl Config {
    /// Checks what the derivations rely on.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.group.is_legal() {
            return Err(ConfigError::IllegalGroup);
        }
        if !(2..=INPUTS_MAX).contains(&self.inputs_max) {
            return Err(ConfigError::InputsMax(self.inputs_max));
        }
        match self.caps.keys().find(|chain| !self.chains.contains_key(chain)) {
            Some(chain) => Err(ConfigError::CapsOfUnknownChain(*chain)),
            None => Ok(()),
        }
    }
}

/// Why no derivation can start from a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The group could not be paid.
    #[error("the group needs 1 <= threshold <= members <= 64, all different")]
    IllegalGroup,
    /// One input per transaction would consolidate a coin into itself for ever; the kernel bounds it from above.
    #[error("a derived transaction has 2 to {INPUTS_MAX} inputs, not {0}")]
    InputsMax(usize),
    /// Caps name a chain that is not configured.
    #[error("there are caps for chain {0}, which is not configured")]
    CapsOfUnknownChain(ChainId),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive::tests::config;

    #[test]
    fn a_configuration_that_cannot_work_should_be_refused() {
        let illegal = Config { group: Mix::of_users([], 1), ..config() };
        assert_eq!(illegal.check(), Err(ConfigError::IllegalGroup));
        for inputs_max in [0, 1, 256] {
            assert_eq!(Config { inputs_max, ..config() }.check(), Err(ConfigError::InputsMax(inputs_max)));
        }
        let caps = BTreeMap::from([(99, BTreeMap::new())]);
        assert_eq!(Config { caps, ..config() }.check(), Err(ConfigError::CapsOfUnknownChain(99)));
        assert_eq!(config().check(), Ok(()));
    }
}

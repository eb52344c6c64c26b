//! Output scripts: how many of an output's keys must sign (kernel `common/script.go`).

use std::fmt;

use thiserror::Error;

/// First byte of a script: compare.
const COMPARE: u8 = 0xff;
/// Second byte of a script: with the sum of signatures.
const SUM: u8 = 0xfe;
/// Largest threshold that a script can ask for.
pub const THRESHOLD_MAX: u8 = 64;

/// The script of an output, as it stands in the transaction: `fffe` ‖ threshold where it is valid.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Script(pub Vec<u8>);

impl Script {
    /// At least `threshold` of the keys must sign. A threshold above 64 gives a script that [`Self::threshold`] refuses.
    pub fn of_threshold(threshold: u8) -> Self {
        Self(vec![COMPARE, SUM, threshold])
    }

    /// The signatures that the script asks for.
    ///
    /// # Errors
    /// Refuses every other script, in the kernel's words.
    pub fn threshold(&self) -> Result<u8, ScriptError> {
        match self.0.as_slice() {
            [COMPARE, SUM, threshold] if *threshold <= THRESHOLD_MAX => Ok(*threshold),
            [COMPARE, SUM, threshold] => Err(ScriptError::Threshold(*threshold)),
            [first, second, _] => Err(ScriptError::Operators(*first, *second)),
            other => Err(ScriptError::Length(other.len())),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({self})")
    }
}

/// Why a script is not a threshold script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// Not three bytes.
    #[error("invalid script length {0}")]
    Length(usize),
    /// Other operators than compare-sum.
    #[error("invalid script operators {0} {1}")]
    Operators(u8, u8),
    /// More than 64.
    #[error("invalid script threshold {0}")]
    Threshold(u8),
}

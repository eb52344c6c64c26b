//! What a member does to the world, as traits named after the act. The shell implements them; the simulator does too.

pub mod chain;
pub mod doubt;
pub mod ledger;
pub mod peer;
pub mod unclaimed;
pub mod witness;

//! What the tests of Lockstep share: the gas benchmark and the simulators.

pub mod ceremony;
pub mod gas;
pub mod handover;
pub mod sim;

//! What the tests of Lockstep share: the gas benchmark and the simulator.

pub mod gas;
pub mod sim;

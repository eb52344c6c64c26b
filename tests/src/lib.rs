//! What the tests of Lockstep share: the gas benchmark, the simulators and the fuzzer.

pub mod ceremony;
pub mod fuzz;
pub mod gas;
pub mod handover;
pub mod sim;
pub mod soak;

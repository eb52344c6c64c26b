//! What the tests of Lockstep share: the simulator.

pub mod sim;

//! Everything that a group needs, on one machine.

pub mod anvil;

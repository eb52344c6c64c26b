//! The chain side of a member against a real anvil with the real contracts: start-up checks, reader, submitter.

#![expect(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm, reason = "a panic is how a test fails")]

mod chain;
mod checks;
mod govern;
mod halt;
mod members;
mod reader;
mod strict;
mod submitter;

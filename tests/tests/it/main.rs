//! Integration tests, one binary so that they link once.

#[cfg(test)]
mod binary;
#[cfg(test)]
mod ceremony;
#[cfg(test)]
mod ceremony_sim;
#[cfg(test)]
mod dependency_rules;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod end_to_end;
#[cfg(test)]
mod evm;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod gas;
mod interleaving;
#[cfg(test)]
mod ledger_contract;
#[cfg(test)]
mod ledger_pay;
#[cfg(test)]
mod ledger_rules;
#[cfg(test)]
mod payout_attempts;
mod scenarios;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod statement;
#[cfg(test)]
mod two_chains;
#[cfg(test)]
mod vectors_bls;
#[cfg(test)]
mod vectors_ceremony;
#[cfg(test)]
mod vectors_contracts;
#[cfg(test)]
mod vectors_kernel;
#[cfg(test)]
mod vectors_lockstep;
#[cfg(test)]
mod vectors_mixin;
#[cfg(test)]
mod vectors_mvm;
#[cfg(test)]
mod walkthrough;

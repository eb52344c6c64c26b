//! Integration tests, one binary so that they link once.

#[cfg(test)]
mod figures;
mod scenarios;
#[cfg(test)]
mod vectors_bls;
#[cfg(test)]
mod vectors_kernel;
#[cfg(test)]
mod vectors_mixin;
#[cfg(test)]
mod vectors_mvm;

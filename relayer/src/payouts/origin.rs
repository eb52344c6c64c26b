//! Where the coins of a derived transaction lie, from this member's rows.

use lockstep_core::derive::{CoinRef, Derived, Payee};
use lockstep_core::group::Group;
use lockstep_core::trace::Trace;
use lockstep_core::{Address, Uuid};

use crate::store::{Store, StoreError};

/// The name under which the ledger's API and the store know a trace.
pub(super) fn trace_id(group: &Group, trace: &Trace) -> Uuid {
    trace.id(&group.id(), |chain| group.contract(chain).unwrap_or(Address::ZERO))
}

/// The generation of the address that all coins of a derived transaction lie at: a list of coins moves as a whole. `None` for
/// coins of two addresses, or of none, which no rule derives.
pub(super) async fn address_of(store: &Store, group: &Group, derived: &Derived) -> Result<Option<u32>, StoreError> {
    let mut generation = None;
    for input in &derived.inputs {
        let at = generation_of(store, group, input).await?;
        if at.is_none() || *generation.get_or_insert(at) != at {
            return Ok(None);
        }
    }
    Ok(generation.flatten())
}

/// The generation of the address that a coin lies at.
async fn generation_of(store: &Store, group: &Group, coin: &CoinRef) -> Result<Option<u32>, StoreError> {
    match coin {
        CoinRef::Output(id) => Ok(store.output(*id).await?.map(|output| output.generation)),
        CoinRef::Virtual { trace, index } => {
            let parent = store.derived(trace_id(group, trace)).await?;
            match parent.and_then(|parent| parent.outputs.into_iter().nth((*index).into())) {
                Some((Payee::Group(generation), _)) => Ok(Some(generation)),
                Some((Payee::Mix(_), _)) | None => Ok(None),
            }
        }
    }
}

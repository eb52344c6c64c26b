//! The history: one hash over every output ever applied, in order.

use alloy_primitives::{B256, keccak256};

use crate::MixMember;
use crate::output::Output;

/// Domain of the first history.
const DOMAIN: &[u8] = b"lockstep/v1/history";

/// The history before any output. It holds the digest of the group file, so that members with different configurations
/// can never sign the same checkpoint.
pub fn genesis(group_id: &B256, group_digest: &B256) -> B256 {
    keccak256([keccak256(DOMAIN), *group_id, *group_digest].concat())
}

/// The history after one more applied output (DERIVATION.md section A). Everything that the derivation reads of an output
/// is in it; an output without senders counts zero of them with threshold 0.
pub fn extend(history: &B256, output: &Output) -> B256 {
    let mut bytes = history.to_vec();
    bytes.extend_from_slice(output.id.as_bytes());
    bytes.extend_from_slice(output.coin.transaction.as_slice());
    bytes.extend_from_slice(&output.coin.index.to_be_bytes());
    bytes.extend_from_slice(&output.asset.0);
    bytes.extend_from_slice(&output.amount.units().to_be_bytes());
    let senders = output.senders.as_ref();
    let members = senders.map_or(&[][..], |senders| senders.members());
    bytes.extend_from_slice(&u16::try_from(members.len()).unwrap_or(u16::MAX).to_be_bytes());
    for member in members {
        match member {
            MixMember::User(user) => bytes.extend_from_slice(user.as_bytes()),
            // The ledger's API names senders as users only; a bare address would stand with both its keys.
            MixMember::Address(spend, view) => {
                bytes.extend_from_slice(spend);
                bytes.extend_from_slice(view);
            }
        }
    }
    bytes.push(senders.map_or(0, |senders| senders.threshold()));
    // A kernel transaction holds at most 4 MiB of extra.
    bytes.extend_from_slice(&u32::try_from(output.extra.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&output.extra);
    bytes.push(u8::from(output.inscription.is_some()));
    bytes.extend_from_slice(output.inscription.as_ref().map_or(&[][..], B256::as_slice));
    bytes.extend_from_slice(&output.sequence.to_be_bytes());
    bytes.extend_from_slice(&output.created_at.to_be_bytes());
    keccak256(bytes)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::output::CoinId;
    use crate::{Amount, AssetId, Mix};

    fn output() -> Output {
        Output {
            id: Uuid::from_u128(1),
            sequence: 2,
            created_at: 3,
            coin: CoinId { transaction: B256::repeat_byte(4), index: 5 },
            asset: AssetId([6; 32]),
            amount: Amount::from_units(7),
            senders: None,
            extra: vec![8],
            stored: None,
            inscription: None,
            spends: Vec::new(),
            generation: 0,
            late: false,
        }
    }

    #[test]
    fn each_part_of_an_output_should_change_the_history() {
        let base = output();
        let user = |id| Mix::of_users([Uuid::from_u128(id)], 1);
        let others = [
            Output { id: Uuid::from_u128(9), ..base.clone() },
            Output { sequence: 9, ..base.clone() },
            Output { created_at: 9, ..base.clone() },
            Output { coin: CoinId { index: 9, ..base.coin }, ..base.clone() },
            Output { coin: CoinId { transaction: B256::ZERO, ..base.coin }, ..base.clone() },
            Output { asset: AssetId([9; 32]), ..base.clone() },
            Output { amount: Amount::from_units(9), ..base.clone() },
            Output { senders: Some(user(1)), ..base.clone() },
            Output { senders: Some(user(2)), ..base.clone() },
            Output { senders: Some(Mix::of_users([Uuid::from_u128(1)], 2)), ..base.clone() },
            Output { extra: vec![9], ..base.clone() },
            Output { extra: vec![], ..base.clone() },
            Output { inscription: Some(B256::ZERO), ..base.clone() },
            base,
        ];
        let seen: std::collections::BTreeSet<_> = others.iter().map(|other| extend(&B256::ZERO, other)).collect();
        assert_eq!(seen.len(), others.len());
    }

    #[test]
    fn the_order_of_outputs_should_matter() {
        let (one, two) = (output(), Output { sequence: 9, ..output() });
        let start = genesis(&B256::ZERO, &B256::ZERO);
        assert_ne!(extend(&extend(&start, &one), &two), extend(&extend(&start, &two), &one));
        assert_ne!(start, genesis(&B256::ZERO, &B256::repeat_byte(1)));
    }
}

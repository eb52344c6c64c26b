//! A mailbox: the ordered messages of one process, as far as the frontier needs to know them.

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::Account;
use crate::frontier::LEAF_TAG;
use crate::message::{FIRST_HEAD, Message, chain_head};
use crate::trace::ChainId;

/// Where a mailbox lives. Each part makes a proof useless elsewhere: on another chain, at another contract, after a
/// redeployment under the same address, or for another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxPlace {
    /// EIP-155 id of the chain.
    pub chain: ChainId,
    /// The group contract there.
    pub contract: Address,
    /// The random name of that deployment.
    pub instance: B256,
    /// The process.
    pub process: Uuid,
}

impl MailboxPlace {
    /// Leaf of the frontier: keccak(0x00 ‖ chain u256 ‖ contract ‖ instance ‖ process ‖ next nonce u256 ‖ head), each part
    /// one word.
    pub fn leaf(&self, mailbox: &Mailbox) -> B256 {
        let words = [
            B256::left_padding_from(&self.chain.to_be_bytes()),
            B256::left_padding_from(self.contract.as_slice()),
            self.instance,
            Account::of_user(self.process).0,
            B256::left_padding_from(&mailbox.next_nonce.to_be_bytes()),
            mailbox.head,
        ];
        keccak256([&[LEAF_TAG], words.concat().as_slice()].concat())
    }
}

/// How far a mailbox has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Nonce of the next message, which is the number of messages so far.
    pub next_nonce: u64,
    /// Hash chain over the messages so far.
    pub head: B256,
}

impl Mailbox {
    /// A mailbox without messages.
    pub const EMPTY: Self = Self { next_nonce: 0, head: FIRST_HEAD };

    /// The mailbox after `message`.
    ///
    /// # Errors
    /// Refuses any nonce but the next one.
    pub fn after(self, message: &Message) -> Result<Self, MailboxError> {
        if message.nonce != self.next_nonce {
            return Err(MailboxError::Nonce { expected: self.next_nonce, got: message.nonce });
        }
        let next_nonce = self.next_nonce.checked_add(1).ok_or(MailboxError::Full)?;
        Ok(Self { next_nonce, head: chain_head(self.head, message.leaf()) })
    }
}

/// Why a message cannot be the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MailboxError {
    /// A gap or a repetition.
    #[error("the next message has nonce {expected}, got {got}")]
    Nonce {
        /// Nonce of the next message.
        expected: u64,
        /// Nonce of the message given.
        got: u64,
    },
    /// 2⁶⁴ − 1 messages.
    #[error("the mailbox is full")]
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageKind;
    use crate::{Amount, AssetId};

    fn message(nonce: u64) -> Message {
        Message {
            kind: MessageKind::Close,
            nonce,
            sequence: 1,
            timestamp: 2,
            sender: Account::ZERO,
            asset: AssetId::NONE,
            amount: Amount::ZERO,
            payload: Vec::new(),
        }
    }

    #[test]
    fn gaps_and_repetitions_should_be_refused() {
        let one = Mailbox::EMPTY.after(&message(0)).expect("the first message");
        assert_eq!(one.after(&message(0)), Err(MailboxError::Nonce { expected: 1, got: 0 }));
        assert_eq!(one.after(&message(2)), Err(MailboxError::Nonce { expected: 1, got: 2 }));
        let last = Mailbox { next_nonce: u64::MAX, head: FIRST_HEAD };
        assert_eq!(last.after(&message(u64::MAX)), Err(MailboxError::Full));
    }

    #[test]
    fn each_part_of_the_place_should_change_the_leaf() {
        let place = MailboxPlace { chain: 1, contract: Address::ZERO, instance: B256::ZERO, process: Uuid::nil() };
        let others = [
            MailboxPlace { chain: 2, ..place },
            MailboxPlace { contract: Address::repeat_byte(1), ..place },
            MailboxPlace { instance: B256::repeat_byte(1), ..place },
            MailboxPlace { process: Uuid::from_u128(1), ..place },
        ];
        for other in others {
            assert_ne!(other.leaf(&Mailbox::EMPTY), place.leaf(&Mailbox::EMPTY));
        }
        let one = Mailbox::EMPTY.after(&message(0)).expect("the first message");
        assert_ne!(place.leaf(&one), place.leaf(&Mailbox::EMPTY));
    }
}

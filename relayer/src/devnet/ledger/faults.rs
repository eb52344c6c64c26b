//! Switches that make the ledger break its own rules, so that tests see what members do then.
//!
//! A fault is set with `POST /admin/faults`, shown by `GET /admin/faults` and cleared with `DELETE /admin/faults/:id`, or
//! `DELETE /admin/faults` for all. Each acts at one place of the code, which its variant names. Faults are kept in memory:
//! a server that starts again is honest again. What a fault did to the ledger's state stays, as everything else does.

use lockstep_core::{Amount, Uuid};
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::ledger::wire::{Hex32, HexBytes, LedgerTime};

pub(crate) mod disturb;
mod registry;

pub(crate) use registry::{Faults, Place};

/// Longest pause of a [`Disturbance`]: longer than any client waits, shorter than the server's own limit.
pub const PAUSE_MS_MAX: u64 = 25_000;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Calls fail, hang, or are done without an answer. At a kernel node where the order names one, else at the API
    /// (`faults/disturb.rs`).
    Disturb(Disturbance),
    /// The user is shown rows with other contents (`outputs::shown`).
    Equivocate(Disguise),
    /// Rows are hidden from the user (`outputs::shown`).
    Omit {
        /// This row; all without it.
        #[serde(default)]
        output: Option<Uuid>,
    },
    /// Rows are listed, and transactions final, at these times after their admission; so perhaps listed before final
    /// (`kernel::admit`).
    Delay {
        /// Until rows are listed; at finality without it.
        #[serde(default)]
        rows_ms: Option<u64>,
        /// Until a transaction is final.
        final_ms: u64,
        /// A share of this much, another for each transaction, is added to `final_ms`.
        #[serde(default)]
        jitter_ms: u64,
    },
    /// An output that one of the users gets is listed with a sequence below the newest ones of the same owners
    /// (`listing::list`).
    LateRow {
        /// Below how many of them.
        #[serde(default = "one")]
        behind: u8,
    },
    /// An output that goes back to who paid it is not listed until the fault is cleared (`listing::list`).
    UnlistedChange,
    /// The key service gives new keys for a question that it answered before (`ghosts::answer`).
    FreshKeys,
    /// A stranger's transaction uses the keys of an answer, and is final before the answer arrives (`ghosts::answer`).
    StealKeys {
        /// Of the output with this index.
        #[serde(default)]
        index: u16,
    },
    /// Views that open nothing (`requests::views`).
    WrongViews,
    /// Who makes a multisig request takes its coins, before anybody signed (`requests::create`).
    LockAtCreate,
    /// The user, who must be named and one of the owners, revokes a request as soon as it has a signature and is not
    /// complete (`requests::sign`, `keep`).
    Revoke,
    /// Taking a signature back ends the request (`requests::sign`, `unlock`).
    UnlockRevokes,
    /// Every owner may revoke, not only who made the request (`requests::sign`, `revoke`).
    AnyoneRevokes,
    /// A complete request is not sent to the kernel, and the API believes it was (`requests::sign`, `send_next`).
    LoseBroadcast,
    /// Nothing becomes final (`listing::finalize_due`).
    Stall,
    /// Each node keeps what it is sent to itself, locks of its own included, and nothing becomes final. When the fault is
    /// cleared, payloads without a rival become final; rivals over a coin stay locked (`kernel::admit`, `split`).
    SplitLocks,
    /// One kernel node lies; the order names it (`rpc::answer`).
    Lie {
        /// What it says.
        about: Lie,
        /// About this transaction only. `getutxo` and `getkey` lie where what they would answer names it.
        #[serde(default)]
        transaction: Option<Hex32>,
    },
    /// Each node, or the one that the order names, has snapshots of its own for the same transactions (`rpc::answer`).
    OwnSnapshots,
    /// Tokens work more than once (`auth::authenticate`).
    ReuseTokens,
}

const fn one() -> u8 {
    1
}

/// What a kernel node says against better knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// A transaction that is not final is.
    Final,
    /// A transaction that is final is not.
    NotFinal,
    /// A transaction, output or key is not known.
    Unknown,
    /// The transaction has other bytes.
    OtherBytes,
    /// A transaction that was sent was taken; it is thrown away.
    Taken,
}

/// How calls go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disturbance {
    /// What comes back.
    pub answer: Answer,
    /// How long nothing happens first; at most [`PAUSE_MS_MAX`].
    #[serde(default)]
    pub pause_ms: u64,
    /// The call is carried out, and only its answer is another one.
    #[serde(default)]
    pub applied: bool,
    /// HTTP method of an API's call, method of a kernel's; all without it.
    #[serde(default)]
    pub method: Option<String>,
    /// Calls of the API whose path begins so; all without it.
    #[serde(default)]
    pub path: Option<String>,
}

/// What comes back from a disturbed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The right one; for calls that are only slow.
    Right,
    /// HTTP 500.
    ServerError,
    /// HTTP 502 and a page of HTML, as from a proxy.
    BadGateway,
    /// Code 429: at the API in an envelope with HTTP 202, at a kernel node as HTTP 429.
    TooMany,
    /// The start of an answer, and a broken connection.
    Cut,
}

/// How an equivocating API shows a row; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disguise {
    /// This row; all without it.
    pub output: Option<Uuid>,
    /// Another amount.
    pub amount: Option<Amount>,
    /// Other senders.
    pub senders: Option<Vec<Uuid>>,
    /// Another threshold of the senders.
    pub senders_threshold: Option<u8>,
    /// Another extra.
    pub extra: Option<HexBytes>,
    /// Another place in the order.
    pub sequence: Option<u64>,
    /// Another time.
    pub created_at: Option<LedgerTime>,
    /// A collectible.
    pub inscription_hash: Option<Hex32>,
}

/// Body of `POST /admin/faults`: a fault, whom it meets, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultOrder {
    /// What goes wrong.
    pub fault: Fault,
    /// Meets this user alone: as caller, as receiver of an output, as owner of a request's coins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Uuid>,
    /// Meets this kernel node alone; the first is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u16>,
    /// Acts so many times and no more; until it is cleared without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

impl FaultOrder {
    /// A fault that meets everybody until it is cleared.
    pub const fn new(fault: Fault) -> Self {
        Self { fault, user: None, node: None, next: None }
    }

    /// The same, for one user.
    #[must_use]
    pub const fn for_user(mut self, user: Uuid) -> Self {
        self.user = Some(user);
        self
    }

    /// The same, at one kernel node.
    #[must_use]
    pub const fn at_node(mut self, node: u16) -> Self {
        self.node = Some(node);
        self
    }

    /// The same, so many times.
    #[must_use]
    pub const fn times(mut self, next: u32) -> Self {
        self.next = Some(next);
        self
    }

    /// Checks that the parts make sense together, on a ledger with `nodes` kernel nodes.
    pub(crate) fn check(&self, nodes: u16) -> Result<(), Refusal> {
        let refuse = |text: &str| Err(Refusal::Field(text.to_owned()));
        let scope = Scope::of(&self.fault);
        if self.user.is_some() && !scope.user {
            return refuse("user: this fault meets all users");
        }
        if self.node.is_some() && !scope.node {
            return refuse("node: this fault has no node");
        }
        if self.next.is_some() && !scope.count {
            return refuse("next: this fault lasts until it is cleared");
        }
        if self.next == Some(0) {
            return refuse("next: a fault acts once at least");
        }
        if self.node.is_some_and(|node| node == 0 || node > nodes) {
            return Err(Refusal::Field(format!("node: the kernel has nodes 1 to {nodes}")));
        }
        if self.fault == Fault::Revoke && self.user.is_none() {
            return refuse("user: somebody has to revoke");
        }
        if matches!(self.fault, Fault::Lie { .. }) && self.node.is_none() {
            return refuse("node: which one lies");
        }
        if self.fault == (Fault::LateRow { behind: 0 }) {
            return refuse("behind: one row at least");
        }
        if let Fault::Equivocate(disguise) = &self.fault
            && !disguise.changes()
        {
            return refuse("fault: nothing is shown otherwise");
        }
        if let Fault::Disturb(how) = &self.fault {
            if how.pause_ms > PAUSE_MS_MAX {
                return Err(Refusal::Field(format!("pause_ms: at most {PAUSE_MS_MAX}")));
            }
            if self.node.is_some() && how.path.is_some() {
                return refuse("path: kernel nodes have one path");
            }
            if self.node.is_some() && self.user.is_some() {
                return refuse("user: kernel nodes do not know their callers");
            }
        }
        Ok(())
    }
}

impl Disguise {
    fn changes(&self) -> bool {
        let nothing = Self { output: self.output, ..Self::default() };
        *self != nothing
    }
}

/// What of an order a fault understands.
struct Scope {
    user: bool,
    node: bool,
    count: bool,
}

impl Scope {
    const fn of(fault: &Fault) -> Self {
        let (user, node, count) = match fault {
            Fault::Disturb(_) => (true, true, true),
            Fault::Equivocate(_)
            | Fault::Omit { .. }
            | Fault::LateRow { .. }
            | Fault::UnlistedChange
            | Fault::FreshKeys
            | Fault::StealKeys { .. }
            | Fault::WrongViews
            | Fault::LockAtCreate
            | Fault::Revoke
            | Fault::UnlockRevokes
            | Fault::AnyoneRevokes
            | Fault::LoseBroadcast
            | Fault::ReuseTokens => (true, false, true),
            Fault::Delay { .. } => (false, false, true),
            Fault::Lie { .. } | Fault::OwnSnapshots => (false, true, true),
            // A count would be of looks, not of deeds.
            Fault::Stall | Fault::SplitLocks => (false, false, false),
        };
        Self { user, node, count }
    }
}

/// A fault that was set, as `GET /admin/faults` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRow {
    /// Names it until the server ends.
    pub id: u64,
    /// What was ordered. `next` counts down; at 0 the fault acts no more and stays in the list.
    #[serde(flatten)]
    pub order: FaultOrder,
    /// How often it acted.
    pub acted: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn order(fault: &serde_json::Value) -> Result<FaultOrder, serde_json::Error> {
        from_value(json!({ "fault": fault }))
    }

    #[test]
    fn what_is_no_fault_should_be_refused() {
        for fault in [
            json!({}),
            json!({ "kind": "unheard_of" }),
            json!({ "kind": "omit", "putput": Uuid::nil() }),
            json!({ "kind": "disturb", "answer": "teapot" }),
            json!({ "kind": "disturb", "answer": "right", "mode": 1 }),
            json!({ "kind": "equivocate", "amount": "0.000000001" }),
            json!({ "kind": "lie", "about": "weather" }),
            json!({ "kind": "delay" }),
        ] {
            assert!(order(&fault).is_err(), "{fault}");
        }
        assert!(from_value::<FaultOrder>(json!({ "fault": { "kind": "stall" }, "uesr": Uuid::nil() })).is_err());
    }

    #[test]
    fn an_order_whose_parts_do_not_fit_should_be_refused_by_field() {
        let user = Uuid::from_u128(1);
        let disturb = |pause_ms, path: Option<&str>| {
            let path = path.map(str::to_owned);
            Fault::Disturb(Disturbance { answer: Answer::Right, pause_ms, applied: false, method: None, path })
        };
        let lie = Fault::Lie { about: Lie::Final, transaction: None };
        let delay = Fault::Delay { rows_ms: None, final_ms: 1, jitter_ms: 0 };
        let nothing = Disguise { output: Some(user), ..Disguise::default() };
        for (order, field) in [
            (FaultOrder::new(Fault::Stall).for_user(user), "user"),
            (FaultOrder::new(delay).for_user(user), "user"),
            (FaultOrder::new(Fault::Revoke), "user"),
            (FaultOrder::new(Fault::WrongViews).at_node(1), "node"),
            (FaultOrder::new(lie.clone()), "node"),
            (FaultOrder::new(lie.clone()).at_node(0), "node"),
            (FaultOrder::new(lie.clone()).at_node(4), "node"),
            (FaultOrder::new(Fault::SplitLocks).times(1), "next"),
            (FaultOrder::new(Fault::FreshKeys).times(0), "next"),
            (FaultOrder::new(disturb(PAUSE_MS_MAX + 1, None)), "pause_ms"),
            (FaultOrder::new(disturb(0, Some("/safe"))).at_node(1), "path"),
            (FaultOrder::new(disturb(0, None)).at_node(1).for_user(user), "user"),
            (FaultOrder::new(Fault::Equivocate(nothing)), "fault"),
            (FaultOrder::new(Fault::LateRow { behind: 0 }), "behind"),
        ] {
            let refused = order.check(3).expect_err("parts that do not fit").to_string();
            assert!(refused.contains(&format!("invalid field: {field}:")), "{refused}");
        }
        FaultOrder::new(lie).at_node(3).times(2).check(3).expect("a lie of the third node");
    }

    #[test]
    fn an_order_should_read_as_it_is_written() {
        let text = json!({
            "fault": { "kind": "equivocate", "output": Uuid::nil(), "amount": "1.5", "sequence": 7 },
            "user": Uuid::max(), "next": 2,
        });
        let read: FaultOrder = from_value(text).expect("an order");
        let amount = Some("1.5".parse().expect("an amount"));
        let disguise = Disguise { output: Some(Uuid::nil()), amount, sequence: Some(7), ..Disguise::default() };
        assert_eq!(read, FaultOrder::new(Fault::Equivocate(disguise)).for_user(Uuid::max()).times(2));
        let row = FaultRow { id: 3, order: read, acted: 1 };
        assert_eq!(from_value::<FaultRow>(serde_json::to_value(&row).expect("json")).expect("a row"), row);
    }
}

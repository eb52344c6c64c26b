//! The ledger in memory: key service, kernel, the API's requests and its list of the group's outputs.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::mixin::structure::{self, StructureError};
use lockstep_core::mixin::{
    CoinKeys, GhostScalar, Input, Output as Paid, PrivateKey, RawKey, SignError, Signature, Signatures,
    SignedTransaction, Transaction, ghost,
};
use lockstep_core::output::{CoinId, Output};
use lockstep_core::payout::{GhostKeys, GhostRequest};
use lockstep_core::{Amount, AssetId, B256, Mix, Uuid};

use super::setup::{UserKeys, generation_of, group_of};

/// A payment from outside.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) asset: AssetId,
    pub(super) amount: u128,
    pub(super) senders: Option<Mix>,
    pub(super) extra: Vec<u8>,
    pub(super) inscription: Option<B256>,
}

/// A transaction that the kernel has admitted.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    pub(super) transaction: Transaction,
    pub(super) is_final: bool,
    /// Signed by the group, and not only said to come from it.
    is_ours: bool,
    senders: Option<Mix>,
    inscription: Option<B256>,
}

#[derive(Clone, Debug)]
struct Coin {
    asset: AssetId,
    amount: Amount,
    keys: CoinKeys,
    mask: RawKey,
}

/// A multisig request of the API.
#[derive(Clone, Debug)]
struct Request {
    transaction: Transaction,
    maps: Vec<BTreeMap<u16, Signature>>,
}

/// Why the kernel refuses.
#[derive(Debug)]
#[expect(dead_code, reason = "shown in verbose runs by Debug")]
pub(super) enum Refused {
    Structure(StructureError),
    NoCoin(CoinId),
    Asset,
    Sum,
    Locked(CoinId),
    KeyUsed(B256),
    Signatures(SignError),
}

#[derive(Default)]
pub(super) struct Ledger {
    /// Whether the first developer registers a private process.
    pub(super) has_private: bool,
    /// Nanoseconds; the world's clock.
    pub(super) now: u64,
    sequence: u64,
    users: BTreeMap<Uuid, UserKeys>,
    issued: BTreeMap<(Uuid, u16), (Vec<Uuid>, GhostKeys)>,
    /// Whom a one-time key pays.
    owners: BTreeMap<RawKey, Uuid>,
    pub(super) transactions: BTreeMap<B256, Admitted>,
    /// Admitted and not final.
    open: BTreeSet<B256>,
    coins: BTreeMap<CoinId, Coin>,
    /// The first payload over a coin keeps it.
    pub(super) locks: BTreeMap<CoinId, B256>,
    /// A key belongs to one transaction for ever.
    keys: BTreeMap<RawKey, B256>,
    requests: BTreeMap<Uuid, Request>,
    /// Outputs to the group that are final and not listed.
    unlisted: BTreeSet<CoinId>,
    /// The outputs at all the group's addresses, as the API lists them; which generation one counts to, its reader says.
    pub(super) listed: Vec<Output>,
    /// The address of each.
    pub(super) places: BTreeMap<Uuid, Mix>,
    /// The generation whose address people use.
    pub(super) generation: usize,
    payments: u64,
    /// What came from outside to the group, by asset.
    pub(super) came: BTreeMap<AssetId, u128>,
    /// What the group paid to others, by asset.
    pub(super) gone: BTreeMap<AssetId, u128>,
}

impl Ledger {
    pub(super) fn new(has_private: bool) -> Self {
        Self { has_private, ..Self::default() }
    }

    // ------------------------------------------------------------------ the key service

    /// Keys for outputs: the same for the same question. `None`: a hint was used for other receivers.
    pub(super) fn issue_keys(&mut self, requests: &[GhostRequest]) -> Option<Vec<GhostKeys>> {
        requests.iter().map(|request| self.issue(request)).collect()
    }

    fn issue(&mut self, request: &GhostRequest) -> Option<GhostKeys> {
        let GhostRequest { receivers, index, hint } = request;
        if let Some((known, keys)) = self.issued.get(&(*hint, *index)) {
            return (known == receivers).then(|| keys.clone());
        }
        let mut seed = [0x6b; 64];
        seed[..16].copy_from_slice(hint.as_bytes());
        seed[16..18].copy_from_slice(&index.to_be_bytes());
        let r = PrivateKey::from_seed(&seed).ok()?;
        let mut keys = Vec::new();
        for receiver in receivers {
            let to = self.user(*receiver);
            let key = ghost::derive_public(&r, &to.view_public, &to.spend_public, (*index).into()).ok()?.raw();
            self.owners.insert(key, *receiver);
            keys.push(key);
        }
        let keys = GhostKeys { mask: r.public().raw(), keys };
        self.issued.insert((*hint, *index), (receivers.clone(), keys.clone()));
        Some(keys)
    }

    fn user(&mut self, user: Uuid) -> &UserKeys {
        self.users.entry(user).or_insert_with(|| UserKeys::of(user))
    }

    // ------------------------------------------------------------------ the kernel

    /// The coin keys of a transaction's inputs; `None` where a coin is not there yet.
    pub(super) fn coin_keys(&self, transaction: &Transaction) -> Option<Vec<CoinKeys>> {
        let coins = transaction.coins()?;
        coins.iter().map(|coin| self.coins.get(coin).map(|coin| coin.keys.clone())).collect()
    }

    /// The final transaction that has a key.
    pub(super) fn final_holder(&self, key: &RawKey) -> Option<&Transaction> {
        let holder = self.transactions.get(self.keys.get(key)?)?;
        holder.is_final.then_some(&holder.transaction)
    }

    /// A payload that can never be admitted: a key of it belongs to another final transaction.
    pub(super) fn is_dead(&self, payload: &Transaction) -> bool {
        let mut keys = payload.outputs().iter().flat_map(|output| &output.keys);
        keys.any(|key| self.final_holder(key).is_some_and(|holder| holder.hash() != payload.hash()))
    }

    /// What the kernel checks before it locks coins and keys; any number of times.
    pub(super) fn admit(&mut self, signed: &SignedTransaction) -> Result<(), Refused> {
        let (transaction, hash) = (signed.transaction(), signed.hash());
        if self.transactions.contains_key(&hash) {
            return Ok(());
        }
        structure::validate_signed(signed).map_err(Refused::Structure)?;
        let inputs = transaction.coins().ok_or(Refused::Sum)?;
        let mut total = Amount::ZERO;
        for input in &inputs {
            let coin = self.coins.get(input).ok_or(Refused::NoCoin(*input))?;
            if coin.asset != transaction.asset() {
                return Err(Refused::Asset);
            }
            if self.locks.get(input).is_some_and(|lock| *lock != hash) {
                return Err(Refused::Locked(*input));
            }
            total = total.checked_add(coin.amount).ok_or(Refused::Sum)?;
        }
        if transaction.output_total() != Some(total) {
            return Err(Refused::Sum);
        }
        for key in transaction.outputs().iter().flat_map(|output| &output.keys) {
            if let Some(holder) = self.keys.get(key).filter(|holder| **holder != hash) {
                return Err(Refused::KeyUsed(*holder));
            }
        }
        let coins = self.coin_keys(transaction).ok_or(Refused::Sum)?;
        signed.verify(&coins).map_err(Refused::Signatures)?;
        let senders = coins.first().and_then(|coin| self.owners_of(&coin.keys, coin.script.threshold().ok()?));
        self.locks.extend(inputs.into_iter().map(|input| (input, hash)));
        self.keep(transaction.clone(), true, senders, None);
        Ok(())
    }

    fn keep(&mut self, transaction: Transaction, is_ours: bool, senders: Option<Mix>, inscription: Option<B256>) {
        let hash = transaction.hash();
        let keys = transaction.outputs().iter().flat_map(|output| &output.keys);
        self.keys.extend(keys.map(|key| (*key, hash)));
        self.open.insert(hash);
        self.transactions.insert(hash, Admitted { transaction, is_final: false, is_ours, senders, inscription });
    }

    /// Transactions that wait for their snapshot.
    pub(super) fn admitted(&self) -> Vec<B256> {
        self.open.iter().copied().collect()
    }

    /// A snapshot: coins come to be.
    pub(super) fn finalize(&mut self, hash: B256) -> Option<Transaction> {
        let admitted = self.transactions.get_mut(&hash)?;
        admitted.is_final = true;
        self.open.remove(&hash);
        let (transaction, ours) = (admitted.transaction.clone(), admitted.is_ours);
        for (index, output) in (0_u16..).zip(transaction.outputs()) {
            let id = CoinId { transaction: hash, index };
            let keys = CoinKeys { keys: output.keys.clone(), script: output.script.clone() };
            let coin = Coin { asset: transaction.asset(), amount: output.amount, keys, mask: output.mask };
            self.coins.insert(id, coin);
            let total = if self.receivers(output).is_some_and(|mix| generation_of(&mix).is_some()) {
                self.unlisted.insert(id);
                if ours {
                    continue;
                }
                &mut self.came
            } else if ours {
                &mut self.gone
            } else {
                continue;
            };
            *total.entry(transaction.asset()).or_default() += output.amount.units();
        }
        Some(transaction)
    }

    /// Who gets an output whose keys the key service made.
    pub(super) fn receivers(&self, output: &Paid) -> Option<Mix> {
        self.owners_of(&output.keys, output.script.threshold().ok()?)
    }

    fn owners_of(&self, keys: &[RawKey], threshold: u8) -> Option<Mix> {
        let users = keys.iter().map(|key| self.owners.get(key).copied()).collect::<Option<Vec<_>>>()?;
        Some(Mix::of_users(users, threshold))
    }

    /// A coin of the group that nothing has spent or locked.
    pub(super) fn unspent(&self) -> BTreeMap<CoinId, (AssetId, u128)> {
        let free = self.listed.iter().filter(|output| !self.locks.contains_key(&output.coin));
        free.map(|output| (output.coin, (output.asset, output.amount.units()))).collect()
    }

    // ------------------------------------------------------------------ the API

    /// Registers a payload, or finds it: what turns the member's spend key into the key of each input. The error is the
    /// payload that the request stands for.
    pub(super) fn register(
        &mut self,
        caller: Uuid,
        id: Uuid,
        transaction: &Transaction,
    ) -> Result<Vec<GhostScalar>, B256> {
        let count = transaction.inputs().len();
        let empty = || Request { transaction: transaction.clone(), maps: vec![BTreeMap::new(); count] };
        let request = self.requests.entry(id).or_insert_with(empty);
        if request.transaction.hash() != transaction.hash() {
            return Err(request.transaction.hash());
        }
        Ok(self.views(caller, transaction))
    }

    /// The scalars of a user for the inputs; empty where a coin is missing.
    pub(super) fn views(&mut self, caller: Uuid, transaction: &Transaction) -> Vec<GhostScalar> {
        let coins = transaction.coins().unwrap_or_default();
        let masks: Option<Vec<_>> =
            coins.iter().map(|id| Some((self.coins.get(id)?.mask.check().ok()?, id.index))).collect();
        let view = &self.user(caller).view;
        let scalar = |(mask, index): (_, u16)| GhostScalar::of_receiver(view, &mask, index.into());
        masks.unwrap_or_default().into_iter().map(scalar).collect()
    }

    /// Takes the valid signatures of `signed`, and gives the transaction to the kernel once there are enough.
    pub(super) fn add_signatures(&mut self, id: Uuid, signed: &SignedTransaction) -> Result<(), Refused> {
        let Some(coins) = self.coin_keys(signed.transaction()) else { return Ok(()) };
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        if request.transaction.hash() != signed.hash() || self.transactions.contains_key(&signed.hash()) {
            return Ok(());
        }
        let mut complete = true;
        let mut maps = Vec::new();
        for (input, (map, coin)) in request.maps.iter_mut().zip(&coins).enumerate() {
            for (index, signature) in signed.input_signatures(input).into_iter().flatten() {
                if !map.contains_key(index) && coin.verify(input, *index, signature, &signed.hash()).is_ok() {
                    map.insert(*index, *signature);
                }
            }
            let need = coin.script.threshold().map_or(usize::MAX, usize::from);
            complete &= map.len() >= need;
            maps.push(map.iter().take(need).map(|(index, signature)| (*index, *signature)).collect());
        }
        if complete && let Ok(full) = SignedTransaction::new(signed.transaction().clone(), Signatures::Map(maps)) {
            self.admit(&full)?;
        }
        Ok(())
    }

    /// Outputs that may be listed now: all coins that their transaction spends were listed before.
    pub(super) fn listable(&self) -> Vec<CoinId> {
        let waits = |coin: &CoinId| {
            let spent = self.transactions[&coin.transaction].transaction.coins().unwrap_or_default();
            spent.iter().any(|spent| self.unlisted.contains(spent))
        };
        self.unlisted.iter().filter(|coin| !waits(coin)).copied().collect()
    }

    /// Gives a coin its place in the order.
    pub(super) fn list(&mut self, coin: CoinId, gap: u64) {
        self.unlisted.remove(&coin);
        self.sequence += gap;
        let Admitted { transaction, senders, inscription, .. } = &self.transactions[&coin.transaction];
        let id = Uuid::new_v5(&Uuid::nil(), format!("{}:{}", coin.transaction, coin.index).as_bytes());
        let place = self.receivers(&transaction.outputs()[usize::from(coin.index)]);
        self.places.extend(place.map(|place| (id, place)));
        self.listed.push(Output {
            id,
            sequence: self.sequence,
            created_at: self.now,
            coin,
            asset: transaction.asset(),
            amount: transaction.outputs()[usize::from(coin.index)].amount,
            senders: senders.clone(),
            extra: transaction.extra().to_vec(),
            stored: None,
            inscription: *inscription,
            spends: transaction.coins().unwrap_or_default(),
            generation: 0,
            late: false,
        });
    }

    /// Everything final is listed and everything admitted is final.
    pub(super) fn is_quiet(&self) -> bool {
        self.unlisted.is_empty() && self.open.is_empty()
    }

    // ------------------------------------------------------------------ the outside

    /// Somebody pays the group at the address that people use.
    pub(super) fn pay(&mut self, payment: Payment) -> Option<B256> {
        self.pay_at(payment, self.generation)
    }

    /// Somebody pays the address of a generation.
    pub(super) fn pay_at(&mut self, payment: Payment, generation: usize) -> Option<B256> {
        let hint = Uuid::new_v5(&Uuid::nil(), format!("payment {}", self.payments).as_bytes());
        let group = group_of(generation);
        let keys = self.issue(&GhostRequest { receivers: group.users()?, index: 0, hint })?;
        let output = Paid::of_keys(Amount::from_units(payment.amount), keys.keys, keys.mask, group.threshold());
        self.pay_to(payment, output)
    }

    /// Somebody pays to keys of its choice; `None` where one is taken.
    pub(super) fn pay_to(&mut self, payment: Payment, output: Paid) -> Option<B256> {
        if output.keys.iter().any(|key| self.keys.contains_key(key)) {
            return None;
        }
        self.payments += 1;
        let transaction = B256::left_padding_from(&self.payments.to_be_bytes());
        let inputs = vec![Input::of_coin(CoinId { transaction, index: 0 })];
        let transaction = Transaction::new(payment.asset, inputs, vec![output], Vec::new(), payment.extra).ok()?;
        let hash = transaction.hash();
        self.keep(transaction, false, payment.senders, payment.inscription);
        Some(hash)
    }
}

//! What every command of governance starts from: a member's configuration, its group and its database.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use lockstep_core::B256;
use lockstep_core::bls::PublicKey;
use lockstep_core::govern::Subject;
use lockstep_core::group::roster::Roster;
use lockstep_core::group::{Addresses, Generations, Group};
use lockstep_core::operation::DecisionBody;
use lockstep_core::trace::ChainId;

use super::super::service::MemberArgs;
use super::super::{Exit, Failure, print_line};
use super::store;
use crate::config::MemberConfig;
use crate::evm::governance::{ContractState, read_contract, read_governed};
use crate::evm::provider::{EvmProvider, provider};
use crate::govern::{Constitution, ProposalFile, is_out_of_reach, words};
use crate::keys::{Keyring, PublicShare};
use crate::member::constitution;
use crate::rosters::Turnover;
use crate::startup::known_generations;
use crate::store::{ActedDecision, Identity, ProposalRow, Store};

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for operators.
    Proposed,
    /// This member's operator approved; others must.
    Approved,
    /// Can be submitted.
    Signed,
    /// Sent, and not seen to act.
    Submitted,
    /// Done.
    Acted,
    /// Something else has its number or nonce: it can never act.
    Void,
}

impl State {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Signed => "signed",
            Self::Submitted => "submitted",
            Self::Acted => "acted",
            Self::Void => "void",
        }
    }

    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Proposed => "proposed: not approved here",
            Self::Approved => "approved here; waits for others",
            Self::Signed => "signed by the group: `lockstep govern submit` sends it",
            Self::Submitted => "submitted; not seen to act yet",
            Self::Acted => "acted",
            Self::Void => "void: another one took its number or nonce",
        }
    }
}

/// A member's operator at work.
pub(super) struct Desk {
    pub(super) config: MemberConfig,
    pub(super) group: Group,
    pub(super) constitution: Constitution,
    pub(super) store: Store,
}

impl Desk {
    pub(super) async fn open(args: &MemberArgs) -> Result<Self, Failure> {
        let config = args.load().map_err(Failure::configuration)?;
        let group = config.load_group().map_err(Failure::configuration)?;
        let constitution = constitution(&group).map_err(Failure::configuration)?;
        let identity = Identity { group_digest: group.digest().0, member: config.member.into() };
        let store = Store::beside(&config.database(), identity).await.map_err(store)?;
        Ok(Self { config, group, constitution, store })
    }

    /// A proposal by its file, its digest, or the first digits of that.
    pub(super) async fn find(&self, text: &str) -> Result<Subject, Failure> {
        if Path::new(text).is_file() {
            return read_file(Path::new(text)).map_err(Failure::bad_input);
        }
        let digits = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
        if digits.len() < 8 || digits.bytes().any(|digit| !digit.is_ascii_hexdigit()) {
            return Err(Failure::bad_input(anyhow!("`{text}` is neither a file nor at least 8 digits of a digest")));
        }
        let rows = self.store.proposals().await.map_err(store)?;
        let mut fits = rows.into_iter().filter(|row| hex::encode(row.digest).starts_with(&digits));
        match (fits.next(), fits.next()) {
            (Some(row), None) => Ok(row.subject),
            (Some(_), Some(_)) => Err(Failure::bad_input(anyhow!("more than one proposal begins with {text}"))),
            (None, _) => Err(Failure::bad_input(anyhow!("no proposal begins with {text}; `govern list` shows all"))),
        }
    }

    /// The digest, if the proposal is one of this group's that somebody could mean.
    pub(super) fn judge(&self, subject: &Subject) -> Result<B256, Failure> {
        let Constitution { group_id, places, .. } = &self.constitution;
        subject.check(group_id, places).map_err(Failure::bad_input)?;
        subject.digest().map_err(Failure::bad_input)
    }

    pub(super) fn words(&self, subject: &Subject) -> Vec<String> {
        words::words(subject, &self.group)
    }

    pub(super) fn say(&self, subject: &Subject) -> Result<(), Failure> {
        self.words(subject).iter().try_for_each(|line| print_line(&format!("  {line}")))
    }

    pub(super) fn file(&self, subject: Subject, digest: B256) -> ProposalFile {
        ProposalFile { says: self.words(&subject), digest, proposal: subject }
    }

    /// Names of the members that approve, as far as this one was told: those of the roster that signs now.
    pub(super) fn approvals(&self, row: &ProposalRow, signing: &Roster) -> Vec<String> {
        let mut indexes = row.approvals.clone();
        if row.approved_at.is_some() {
            indexes.insert(self.config.member);
        }
        let name = |index: &u8| signing.member(*index).map_or_else(|| index.to_string(), |one| one.name.clone());
        indexes.iter().map(name).collect()
    }

    /// The roster that signs now.
    pub(super) async fn signing(&self) -> Result<Arc<Roster>, Failure> {
        Ok(Arc::clone(self.known()?.active(&self.addresses().await?)))
    }

    /// What became of a proposal. What only a chain could say is left out where that cannot be reached.
    pub(super) async fn state(&self, row: &ProposalRow) -> Result<State, Failure> {
        let ended = match &row.subject {
            Subject::Decision { number, body, .. } => {
                let acted = self.acted().await?;
                acted.iter().find(|decision| decision.number == *number).map(|decision| decision.body == *body)
            }
            Subject::Action { place, nonce, action } => match self.contract(place.chain).await {
                Ok((provider, state)) if state.nonce > *nonce => {
                    let start = self.group.chains().get(&place.chain).map_or(0, |chain| chain.start_block);
                    let done = read_governed(&provider, place.contract, *nonce, start).await.ok().flatten();
                    let same = |(kind, data)| action.kind() == kind && action.data() == Ok(data);
                    Some(done.is_some_and(same))
                }
                Ok(_) | Err(_) => None,
            },
        };
        Ok(match ended {
            Some(true) => State::Acted,
            Some(false) => State::Void,
            None if row.submission.is_some() => State::Submitted,
            None if row.signature.is_some() => State::Signed,
            None if row.approved_at.is_some() => State::Approved,
            None => State::Proposed,
        })
    }

    pub(super) async fn acted(&self) -> Result<Vec<ActedDecision>, Failure> {
        self.store.acted_decisions().await.map_err(store)
    }

    /// The first configured endpoint of a chain.
    pub(super) fn provider(&self, chain: ChainId) -> Result<EvmProvider, Failure> {
        let endpoints = self.config.chains.get(&chain).and_then(|chain| chain.rpc.first());
        let url = endpoints.with_context(|| format!("chain {chain} has no RPC endpoint in the configuration"));
        provider(url.map_err(Failure::configuration)?.expose().as_str()).map_err(Failure::configuration)
    }

    /// Where a chain's contract stands.
    pub(super) async fn contract(&self, chain: ChainId) -> Result<(EvmProvider, ContractState), Failure> {
        let place =
            self.constitution.places.get(&chain).with_context(|| format!("chain {chain} is not in the group file"));
        let contract = place.map_err(Failure::bad_input)?.contract;
        let provider = self.provider(chain)?;
        let state = read_contract(&provider, contract).await;
        let state = state.map_err(|error| Failure::new(Exit::TryAgain, error))?;
        Ok((provider, state))
    }

    /// The group's addresses on the ledger up to now, as the core takes switches (A3).
    pub(super) async fn addresses(&self) -> Result<Addresses, Failure> {
        let acted = self.acted().await?.into_iter();
        let switches = acted.filter_map(|decision| {
            let DecisionBody::Switch { group } = decision.body else { return None };
            (group.is_legal() && group.users().is_some()).then_some((decision.sequence, group))
        });
        Ok(Addresses::from_parts(self.group.mix(), switches.collect()))
    }

    /// The sharings of the group's key that this member knows.
    pub(super) fn known(&self) -> Result<Generations, Failure> {
        known_generations(&self.group, &self.config).map_err(|error| Failure::new(error.exit(), error))
    }

    /// How far the members have changed since the group's key was made.
    pub(super) async fn turnover(&self) -> Result<Turnover, Failure> {
        Ok(Turnover::of(&self.known()?, &self.addresses().await?))
    }

    /// Refuses to let this member sign a switch to people of whom it does not know that they hold the key: were they to have no
    /// shares of it, nobody could sign anything any more. Where it is one of them itself, it must hold its share.
    pub(super) async fn expect_roster(&self, subject: &Subject) -> Result<(), Failure> {
        let Subject::Decision { body: DecisionBody::Switch { group }, .. } = subject else { return Ok(()) };
        let known = self.known()?;
        let Some(next) = known.next(&self.addresses().await?, group) else {
            let folder = self.config.data.display();
            return Err(Failure::new(
                Exit::Negative,
                anyhow!(
                    "no ceremony is known here that gave these members, with this threshold, shares of the group's key: \
                     `{folder}` has no certified roster of theirs (generation-<g>.toml) that is newer than the one that signs"
                ),
            ));
        };
        // A machine without the key file approves, and never signs.
        if !self.config.keys.exists() {
            return Ok(());
        }
        let keys = Keyring::peek(&self.config.keys).map_err(Failure::configuration)?;
        let seat = next.members().iter().find(|member| hex::encode(member.identity.as_bytes()) == keys.identity);
        let Some(seat) = seat else { return Ok(()) };
        let public = next.key().share(seat.index).map(PublicKey::compress);
        let is_held = |held: &PublicShare| held.generation == next.generation() && Some(held.public_share) == public;
        if keys.shares.iter().any(is_held) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Negative,
            anyhow!(
                "this member has a seat in generation {} and holds no share of it: it would sign nothing after the switch. \
                 Take part in its ceremony (round {}) until it has ended here, or hold the next one",
                next.generation(),
                next.round()
            ),
        ))
    }

    /// Refuses what this member would never sign: the members before the last change may have signed something else under
    /// the same number or nonce.
    pub(super) async fn expect_free(&self, subject: &Subject, digest: B256) -> Result<(), Failure> {
        let (slot, signing) = (subject.slot(), self.signing().await?);
        if is_out_of_reach(slot, &self.acted().await?, &signing.marks()) {
            return Err(Failure::new(
                Exit::Negative,
                anyhow!(
                    "{slot} is too far above the last decision: nobody signs for it. Propose it under a lower number"
                ),
            ));
        }
        let promised = self.store.promised_governance(slot).await.map_err(store)?;
        if !slot.is_covered_by(&signing.marks()) || promised == Some(digest) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Negative,
            anyhow!(
                "{slot} may have been signed for before the members of generation {} came: they sign nothing else for it. \
                 Propose it under the next number or nonce",
                signing.generation()
            ),
        ))
    }

    /// Refuses to let this member sign the admission of an output that it has not set aside: all members would wait for ever for
    /// one that does not exist.
    pub(super) async fn expect_late(&self, subject: &Subject) -> Result<(), Failure> {
        let Subject::Decision { body: DecisionBody::Admit { output }, .. } = subject else { return Ok(()) };
        let known = self.store.output(*output).await.map_err(store)?;
        if known.is_some_and(|known| known.late) {
            return Ok(());
        }
        let reason =
            anyhow!("this member has set no output {output} aside: `ledger.late` in /status lists those that wait");
        Err(Failure::new(Exit::Negative, reason))
    }
}

fn read_file(path: &Path) -> anyhow::Result<Subject> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let file = ProposalFile::parse(&text).with_context(|| format!("cannot use `{}`", path.display()))?;
    Ok(file.proposal)
}

/// Asks the person at the terminal; without a terminal, nobody says yes.
pub(super) fn confirmed(digest: B256) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::bad_input(anyhow!("nobody is there to ask: --yes approves without a question")));
    }
    let failed = |error: io::Error| Failure::new(Exit::TryAgain, error);
    let first = hex::encode(digest).chars().take(8).collect::<String>();
    write!(io::stderr(), "Type {first} to approve: ").map_err(failed)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim() == first)
}

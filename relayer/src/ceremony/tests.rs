//! Ceremonies between members on loopback, each with its own database, key file and port.

use std::net::SocketAddr;

use lockstep_core::B256;
use lockstep_core::bls::SecretShare;
use lockstep_core::dkg::Deadlines;
use lockstep_core::group::{FeeFile, Group};
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::clock;
use crate::config::{read_roster, roster_path};
use crate::keys::{self, Cost, MemberKeys, Passphrase, XIN};
use crate::peer::{Clock, ceremony_router};
use crate::store::{CeremonyStep, SigningSwitch};

mod ended;

/// A member to be: everything of it that outlives its process.
struct Home {
    folder: TempDir,
    ring: Keyring,
    address: SocketAddr,
}

/// A member's process.
struct Process {
    stop: CancellationToken,
    server: JoinHandle<()>,
    store: Store,
    ceremonies: Ceremonies,
    row: CeremonyRow,
}

impl Home {
    fn new(name: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let member = MemberKeys::generate(name, None, &mut keys::system_entropy).expect("keys");
        let path = folder.path().join(keys::KEY_FILE);
        let ring = Keyring::create(&path, &Passphrase::new("long enough"), Cost::QUICK, member).expect("a key file");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        Self { folder, ring, address: listener.local_addr().expect("bound") }
    }

    fn places(&self) -> Places {
        Places { group: self.folder.path().join("group.toml"), data: self.folder.path().to_path_buf() }
    }

    fn candidate(&self) -> Candidate {
        let public = self.ring.keys().public();
        let peer = format!("http://{}", self.address);
        Candidate { name: public.name, user: public.user, identity: public.identity, peer }
    }

    async fn start(&self, plan: &Plan) -> Process {
        let store = Store::open_unclaimed(&self.folder.path().join("lockstep.db")).await.expect("a database");
        let store = store.hold().await.expect("nobody else takes part for it");
        let row = approval(plan, plan.to_text().expect("TOML"), clock::unix_seconds());
        store.approve_ceremony(&row).await.expect("approved");
        let directory = Directory::new(plan.proposal.group_id());
        let previous = self.places().previous(plan).expect("the roster before");
        directory.admit(row.digest, plan.participants(previous.as_ref()));
        let seconds: Clock = Arc::new(clock::unix_seconds);
        let local = Local::new(directory, self.ring.keys().identity.clone(), seconds).expect("a participant");
        let config = PeerConfig::default();
        let ceremonies = Ceremonies::new(store.clone(), local.clone(), &config, self.ring.clone(), self.places());
        let ceremonies = ceremonies.expect("a client");
        let router = ceremony_router(local, ceremonies.speaker());
        let stop = CancellationToken::new();
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("its own port again");
        socket.bind(self.address).expect("its port");
        let listener = socket.listen(64).expect("listening");
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        Process { stop, server, store, ceremonies, row }
    }
}

impl Process {
    async fn finish(&self) -> Result<Option<Ended>, CeremonyError> {
        Box::pin(self.ceremonies.finish(&self.row, &self.stop)).await
    }

    /// As kill -9 would: nothing is told, nothing is tidied.
    async fn kill(self) {
        self.server.abort();
        let _ = self.server.await;
        self.store.close().await;
    }
}

fn deadlines() -> Deadlines {
    Deadlines { join: 60, deal: 60, log: 60, agree: 60, finish: 60 }
}

fn first(homes: &[&Home]) -> Plan {
    let members = homes.iter().map(|home| home.candidate()).collect();
    let fee = FeeFile { asset: XIN, amount: "0.01".parse().expect("an amount") };
    let terms = Terms::new(&[31_337], fee, &mut keys::system_entropy);
    let draft = Draft { members, threshold: None, round: 1, deadlines: deadlines() };
    draft.first(terms, &mut keys::system_entropy).expect("a plan")
}

fn again(previous: &Roster, homes: &[&Home], round: u32) -> Plan {
    let members = homes.iter().map(|home| home.candidate()).collect();
    let draft = Draft { members, threshold: None, round, deadlines: deadlines() };
    draft.after(previous, false, Vec::new()).expect("a plan")
}

/// All take part, each until it is done.
async fn all(homes: &[&Home], plan: &Plan) -> Vec<Ended> {
    let mut processes = Vec::new();
    for home in homes {
        processes.push(home.start(plan).await);
    }
    let mut ended = Vec::new();
    for outcome in futures_util::future::join_all(processes.iter().map(Process::finish)).await {
        ended.push(outcome.expect("no failure").expect("an end"));
    }
    for process in processes {
        process.kill().await;
    }
    ended
}

fn share(home: &Home, generation: u32) -> Arc<SecretShare> {
    home.ring.share(generation).expect("a share").secret
}

/// Signs with the shares of these members and checks under the group's key.
fn signs(roster: &Roster, homes: &[&Home]) -> bool {
    let digest = B256::repeat_byte(7);
    let parts: Vec<_> = homes.iter().map(|home| share(home, roster.generation()).sign_digest(&digest)).collect();
    let recovered = roster.key().recover_digest(&digest, &parts, &std::collections::BTreeSet::new());
    recovered.is_ok_and(|recovered| roster.key().key().verify_digest(&digest, &recovered.signature))
}

#[test]
fn plan_should_be_read_as_it_was_written_and_refused_otherwise() {
    let homes: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| Home::new(name)).collect();
    let plan = first(&homes.iter().collect::<Vec<_>>());
    let text = plan.to_text().expect("TOML");
    let read = Plan::parse(&text).expect("a plan");
    assert_eq!((read.id(), &read), (plan.id(), &plan));
    let refused = |text: &str| Plan::parse(text).expect_err("refused").to_string();
    let bare = text.split("[terms").next().expect("text");
    assert!(refused(bare).contains("needs the table `terms`"), "{}", refused(bare));
    assert_eq!(refused(&text.replacen("group_id", "grup_id", 1)), "not a proposal file");
    assert!(refused(&text.replacen("payload_max = 65536", "payload_max = 65537", 1)).contains("payload_max"));
    let dearer = Plan::parse(&text.replacen("0.01", "0.02", 1)).expect("a plan");
    assert_eq!(dearer.proposal, plan.proposal);
    assert_ne!(dearer.id(), plan.id(), "other terms are another ceremony");

    let next = plan.again(None).expect("a plan");
    assert_eq!((next.proposal.round(), &next.terms), (2, &plan.terms));
    assert_eq!(next.proposal.members(), plan.proposal.members());
    assert_ne!(next.id(), plan.id());
    assert!(plan.again(Some(1)).expect_err("used").to_string().contains("above 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_should_make_one_key_and_hand_it_on() {
    let homes: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| Home::new(name)).collect();
    let [a, b, c, d, e] = homes.iter().collect::<Vec<_>>().try_into().ok().expect("five");
    let old = [a, b, c, d];
    let ended = all(&old, &first(&old)).await;
    let files: Vec<_> = old.iter().map(|home| std::fs::read_to_string(home.places().group).expect("there")).collect();
    assert!(files.iter().all(|file| *file == files[0]), "the same file at all members");
    let roster = config_group(a).roster();
    assert!(signs(&roster, &[a, b, c]) && !signs(&roster, &[a, b]));
    let Ended::Done { roster: digest, .. } = &ended[0] else { panic!("{ended:?}") };
    assert_eq!(*digest, roster.digest());

    // d is replaced by e, who has the group file only.
    std::fs::copy(a.places().group, e.places().group).expect("copied");
    let new = [a, b, c, e];
    let plan = again(&roster, &new, 2);
    all(&[a, b, c, d, e], &plan).await;
    let next: Vec<_> = [a, b, c, d, e].map(|home| read_roster(&roster_path(&home.places().data, 1))).into();
    let next: Vec<_> = next.into_iter().map(|roster| roster.expect("a roster")).collect();
    assert!(next.iter().all(|roster| roster.digest() == next[0].digest()));
    assert_eq!(next[0].key().key(), roster.key().key(), "the same group key");
    assert!(signs(&next[0], &[b, c, e]));
    assert!(d.ring.share(1).is_none(), "who leaves gets nothing");
}

fn config_group(home: &Home) -> Group {
    crate::config::read_group(&home.places().group).expect("a group")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_members_should_go_on_where_they_stopped() {
    let homes: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| Home::new(name)).collect();
    let homes: Vec<_> = homes.into_iter().map(Arc::new).collect();
    let plan = first(&homes.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    let mut members = JoinSet::new();
    for (i, home) in homes.iter().enumerate() {
        let (home, plan) = (Arc::clone(home), plan.clone());
        members.spawn(async move {
            // Each is killed after another number of rows, and starts again: at every step of the protocol somebody dies.
            for rows in (1..9).filter(|rows| rows % 4 == i) {
                let process = home.start(&plan).await;
                let dead = async {
                    while process.store.ceremony_records(process.row.digest).await.expect("rows").len() < rows {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::select! {
                    ended = process.finish() => { ended.expect("no failure").expect("an end"); }
                    () = dead => {}
                }
                process.kill().await;
            }
            let process = home.start(&plan).await;
            let ended = process.finish().await.expect("no failure").expect("an end");
            process.kill().await;
            ended
        });
    }
    let ended = members.join_all().await;
    let digests: Vec<_> =
        ended.iter().map(|ended| serde_json::to_value(ended).expect("JSON")["roster"].clone()).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    let roster = config_group(&homes[0]).roster();
    assert!(signs(&roster, &[&homes[3], &homes[1], &homes[2]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_signs_nothing_should_wait_until_it_may_again() {
    let homes: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| Home::new(name)).collect();
    let plan = first(&homes.iter().collect::<Vec<_>>());
    let switch = |stopped| SigningSwitch { stopped, at: 1, reason: "a laptop was lost".into() };
    let mut processes = Vec::new();
    for home in &homes {
        processes.push(home.start(&plan).await);
    }
    let stopped = &processes[3];
    stopped.store.switch_signing(&switch(true)).await.expect("stopped");
    let refused = stopped.finish().await.expect_err("it signs nothing");
    assert!(matches!(refused, CeremonyError::Store(StoreError::Stopped { .. })), "{refused}");
    assert!(stopped.store.ceremony_records(stopped.row.digest).await.expect("readable").is_empty());

    let others = futures_util::future::join_all(processes[..3].iter().map(Process::finish));
    let service = stopped.ceremonies.clone().serve(|_| (), stopped.stop.clone());
    let resumed = async {
        tokio::time::sleep(LOOK).await;
        stopped.store.switch_signing(&switch(false)).await.expect("resumed");
        while stopped.store.ceremony_outcome::<Ended>(stopped.row.digest).await.expect("readable").is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stopped.stop.cancel();
    };
    let (others, service, ()) = tokio::join!(others, service, resumed);
    service.expect("no failure");
    assert!(others.iter().all(|ended| matches!(ended, Ok(Some(Ended::Done { .. })))), "{others:?}");
    for process in processes {
        process.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_ceremony_should_name_who_is_missing_and_the_next_round_should_work() {
    let homes: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| Home::new(name)).collect();
    let everybody: Vec<_> = homes.iter().collect();
    let members = everybody.iter().map(|home| home.candidate()).collect();
    let fee = FeeFile { asset: XIN, amount: "0.01".parse().expect("an amount") };
    let terms = Terms::new(&[31_337], fee, &mut keys::system_entropy);
    let draft = Draft { members, threshold: None, round: 1, deadlines: Deadlines { join: 1, ..deadlines() } };
    let plan = draft.first(terms, &mut keys::system_entropy).expect("a plan");
    let (a, b) = (everybody[0].start(&plan).await, everybody[1].start(&plan).await);
    let (of_a, _) = tokio::join!(
        async {
            let over = a.finish().await.expect_err("two are missing");
            b.stop.cancel();
            over
        },
        b.finish()
    );
    assert!(of_a.to_string().contains("c has not joined; d has not joined"), "{of_a}");
    let report = reports(&a.store).await.expect("readable").pop().expect("one");
    let shown = report.progress.expect("it took part");
    assert_eq!(shown.missing, ["c", "d"]);
    assert!(shown.failure.is_some_and(|failure| failure.contains("phase Join")));
    assert_eq!(shown.members[1].line, "answers");
    assert_eq!(shown.members[2].line, "does not answer");
    a.kill().await;
    b.kill().await;

    // With more time; the two who took part in vain leave nothing of that round behind.
    let next = plan.again(None).and_then(|next| Plan::parse(&next.to_text()?.replacen("join = 1\n", "join = 60\n", 1)));
    let next = next.expect("a plan");
    assert!(matches!(all(&everybody, &next).await[..], [Ended::Done { .. }, ..]));
    assert!(signs(&config_group(&homes[3]).roster(), &everybody[1..]));
    let a = everybody[0].start(&next).await;
    let outcomes: Vec<_> =
        reports(&a.store).await.expect("readable").into_iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes[0], Some(Ended::Superseded { by: next.id() }));
    assert!(matches!(outcomes[1], Some(Ended::Done { .. })));
    a.kill().await;
}

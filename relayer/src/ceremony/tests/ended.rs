//! What is left of a ceremony that has ended, and what its outcome says to those who come next.

use std::collections::BTreeMap;

use lockstep_core::dkg::{Record, carries_share};
use lockstep_core::govern::Slot;
use lockstep_core::group::{Addresses, Generations};
use tokio::sync::watch;

use super::*;
use crate::govern::Constitution;
use crate::signer::Signer;

/// The bodies of a ceremony's rows that give a share back.
async fn secrets(process: &Process, others: &[&Home]) -> Vec<Vec<u8>> {
    let (store, digest) = (&process.store, process.row.digest);
    let records = store.ceremony_records(digest).await.expect("rows").into_iter();
    let mut found: Vec<_> = records.filter(|record| Record::from_bytes(record.clone()).is_secret()).collect();
    for other in others {
        let key = other.ring.keys().identity.verifying_key().to_bytes();
        let items = store.ceremony_items(digest, &key, 0, usize::MAX).await.expect("rows").unwrap_or_default();
        found.extend(items.into_iter().map(|item| item.body).filter(|body| carries_share(body)));
    }
    found
}

/// How many of them stand in a file of the member's folder.
fn standing(home: &Home, secrets: &[Vec<u8>]) -> usize {
    let files = std::fs::read_dir(home.folder.path()).expect("a folder").map(|file| file.expect("a file").path());
    let texts: Vec<_> =
        files.filter(|path| path.is_file()).map(|path| std::fs::read(path).expect("readable")).collect();
    // The signature at a dealing's end; the tag at a seed's.
    let ends = secrets.iter().map(|secret| secret.last_chunk::<16>().expect("a whole body"));
    ends.filter(|end| texts.iter().any(|text| text.windows(16).any(|bytes| bytes == *end))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_and_shares_should_be_in_no_file_after_the_end() {
    let homes: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| Home::new(name)).collect();
    let everybody: Vec<_> = homes.iter().collect();
    let plan = first(&everybody);
    let mut processes = Vec::new();
    for home in &everybody {
        processes.push(home.start(&plan).await);
    }
    // Looks at one of them from time to time, and finds its seed and what it dealt and got.
    let watched = async {
        let mut seen = Vec::new();
        while processes[1].store.ceremony_outcome::<Ended>(processes[1].row.digest).await.expect("readable").is_none() {
            let found = secrets(&processes[1], &everybody).await;
            if found.len() > seen.len() && standing(everybody[1], &found) == found.len() {
                seen = found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        seen
    };
    let ended = futures_util::future::join_all(processes.iter().map(Process::finish));
    let (ended, seen) = tokio::join!(ended, watched);
    assert!(ended.iter().all(|ended| matches!(ended, Ok(Some(Ended::Done { .. })))), "{ended:?}");
    assert!(seen.len() >= 2, "the test sees its seed and a share: {}", seen.len());
    // While the process runs, too.
    assert_eq!(standing(everybody[1], &seen), 0);
    assert_eq!(secrets(&processes[1], &everybody).await, Vec::<Vec<u8>>::new());
    for process in processes {
        process.kill().await;
    }
    // A crash between the outcome and the end of its secrets, or a version that kept them.
    let again = everybody[1].start(&plan).await;
    let (items, records): (Vec<_>, Vec<_>) = seen.iter().cloned().partition(|body| carries_share(body));
    let items = items.into_iter().map(|item| (Some([7; 32]), item)).collect();
    let rows = CeremonyStep { records, items };
    again.store.advance_ceremony(again.row.digest, &rows).await.expect("kept");
    assert_eq!(standing(everybody[1], &seen), seen.len());
    assert!(matches!(again.finish().await, Ok(Some(Ended::Done { .. }))));
    assert_eq!((standing(everybody[1], &seen), secrets(&again, &everybody).await.len()), (0, 0));
    again.kill().await;
    assert!(signs(&config_group(&homes[0]).roster(), &[&homes[1], &homes[2], &homes[3]]), "their shares are kept");
}

/// What dealers promised or saw signed binds those who come: the highest that more than f dealers say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_should_say_which_numbers_and_nonces_may_be_signed_already() {
    let homes: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| Home::new(name)).collect();
    let everybody: Vec<_> = homes.iter().collect();
    all(&everybody, &first(&everybody)).await;
    let plan = again(&config_group(&homes[0]).roster(), &everybody, 2);
    let mut processes = Vec::new();
    for (home, numbers) in everybody.iter().zip([&[3, 9][..], &[9], &[4], &[1_000]]) {
        let process = home.start(&plan).await;
        for number in numbers {
            let promise = process.store.guard_governance(Slot::Number(*number), B256::ZERO);
            promise.await.expect("promised");
        }
        processes.push(process);
    }
    for ended in futures_util::future::join_all(processes.iter().map(Process::finish)).await {
        assert!(matches!(ended, Ok(Some(Ended::Done { .. }))), "{ended:?}");
    }
    let roster = read_roster(&roster_path(&homes[3].places().data, 1)).expect("a roster");
    assert_eq!(roster.marks(), Marks { checkpoint: None, decision: 9, governance: BTreeMap::new() });
    for process in processes {
        process.kill().await;
    }
}

/// Some had finished a round when the others began the next one: whoever holds the earlier outcome gives it up for the later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_round_should_take_the_place_of_an_outcome_that_nobody_signs_with() {
    let homes: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| Home::new(name)).collect();
    let everybody: Vec<_> = homes.iter().collect();
    all(&everybody, &first(&everybody)).await;
    let genesis = config_group(&homes[0]).roster();
    let [earlier, later] = [2, 3].map(|round| again(&genesis, &everybody, round));
    all(&everybody, &earlier).await;
    let before = share(&homes[0], 1).public_key();
    assert!(matches!(all(&everybody, &later).await[..], [Ended::Done { .. }, ..]));
    let roster = read_roster(&roster_path(&homes[0].places().data, 1)).expect("a roster");
    assert_eq!(roster.round(), 3);
    assert_ne!(share(&homes[0], 1).public_key(), before);
    assert!(signs(&roster, &[&homes[0], &homes[1], &homes[2]]));
    // Nobody goes back to a round that was given up.
    let open = again(&genesis, &everybody, 4);
    let last = again(&genesis, &everybody, 5);
    let process = homes[0].start(&open).await;
    let rows = CeremonyStep { records: vec![vec![0; 81]], items: vec![(None, vec![1])] };
    process.store.advance_ceremony(open.id(), &rows).await.expect("kept");
    process.store.approve_ceremony(&approval(&last, last.to_text().expect("TOML"), 1)).await.expect("approved");
    let row = process.store.ceremonies().await.expect("rows").pop().expect("the last");
    process.ceremonies.supersede(&row).await.expect("given up");
    assert!(process.store.ceremony_records(open.id()).await.expect("rows").is_empty());
    let refused = process.finish().await.expect_err("given up");
    assert!(refused.to_string().contains("approved the later ceremony"), "{refused}");
    process.kill().await;
}

/// Somebody whom the others left out of the next round keeps nothing of the one that failed, once they have signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_failed_should_end_when_the_group_signs_with_a_later_one() {
    let homes: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| Home::new(name)).collect();
    let (out, everybody) = (&homes[4], homes[..4].iter().collect::<Vec<_>>());
    all(&everybody, &first(&everybody)).await;
    let genesis = config_group(&homes[0]).roster();
    let failed = again(&genesis, &homes.iter().collect::<Vec<_>>(), 2);
    all(&everybody, &again(&genesis, &everybody, 3)).await;
    let next = read_roster(&roster_path(&homes[0].places().data, 1)).expect("a roster");

    std::fs::copy(homes[0].places().group, out.places().group).expect("copied");
    let process = out.start(&failed).await;
    let (_addresses, changing) = watch::channel(Arc::new(Addresses::new(genesis.mix())));
    let own = out.ring.keys().identity.verifying_key().to_bytes();
    let first_key = *genesis.key().key();
    let (group_id, directory) = (genesis.group_id(), Directory::new(genesis.group_id()));
    let rosters = Rosters::new(own, Generations::new(genesis), changing, directory);
    let signer = Signer::new(rosters.clone(), out.ring.clone(), process.store.clone());
    let constitution = Constitution { group_id, places: BTreeMap::new(), first_key };
    let governance = Governance::new(constitution, signer.clone(), process.store.clone());
    let service = process.ceremonies.clone().of_service(rosters, governance);
    let serving = service.serve(|_| (), process.stop.clone());
    let records = async || process.store.ceremony_records(failed.id()).await.expect("rows").len();
    let outcome = async || process.store.ceremony_outcome::<Ended>(failed.id()).await.expect("readable");
    let signed = async {
        while records().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(outcome().await, None, "it waits for the others");
        signer.erase_before(&next, 9).await.expect("nothing to erase");
        while outcome().await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process.stop.cancel();
    };
    let (served, ()) = tokio::join!(serving, signed);
    served.expect("no failure");
    assert_eq!((outcome().await, records().await), (Some(Ended::Overtaken { round: 3 }), 0));
    process.kill().await;
}

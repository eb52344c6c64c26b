//! Payments of every kind through a network of processes, each accounted for; `make soak-ledger` makes thousands.

use anyhow::Result;
use lockstep_tests::soak::{self, Ending, Options};

use crate::binary::lockstep_binary;

/// Few payments, yet each kind is among them. `soak` itself compares members, ledger and contract.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_payment_should_end_once_and_leave_equal_books() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().join("group");
    let options = Options { payments: 60, seed: 1, folder, binary: lockstep_binary()? };
    let report = Box::pin(soak::run(&options, &mut |_| ())).await?;
    assert_eq!(report.payments.values().sum::<usize>(), 60);
    assert_eq!(report.kinds.len(), 20, "each kind");
    for (kind, endings) in &report.kinds {
        assert_eq!(endings.keys().copied().collect::<Vec<_>>(), [kind.ending()], "{}", kind.label());
    }
    let ended = |ending: Ending| report.kinds.values().filter_map(|endings| endings.get(&ending)).sum::<usize>();
    assert_eq!(ended(Ending::Message) + ended(Ending::Refund) + ended(Ending::Unclaimed), 62, "one has three outputs");
    assert!(report.assets.iter().all(|books| books.agree() && books.coins > 0));
    assert!(report.outbounds >= 7);
    Ok(())
}

//! The group's key, made and handed on by real processes while payments flow.

use std::time::Duration;

use anyhow::Result;
use lockstep_tests::handover::{self, Options};

use crate::binary::lockstep_binary;

/// Four members, three of whom sign. One of them is replaced, another is killed twice in the middle of the ceremony, and a
/// third is gone afterwards, so that nothing moves unless the new one signs. `handover` checks shares, coins and books.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_should_hand_the_key_on_while_payments_flow() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().join("group");
    // Members that are killed delay payments, and so does whatever else this machine does.
    let delay_max = Duration::from_secs(180);
    let options = Options { members: 4, added: 0, kill: true, delay_max, folder, binary: lockstep_binary()? };
    let report = Box::pin(handover::run(&options, &mut |_| ())).await?;
    let participants: Vec<_> = report.ceremonies.iter().map(|(_, costs)| costs.len()).collect();
    assert_eq!(participants, [4, 5], "four made the key; they and a newcomer handed it on");
    assert!(report.payments >= 6 && report.late > 0, "{} payments, {} late", report.payments, report.late);
    assert!(report.ceremonies[0].1.iter().all(|cost| cost.received > 0 && cost.sent > 0));
    Ok(())
}

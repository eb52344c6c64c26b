//! The group's key, made and handed on by real processes while payments flow.

use anyhow::Result;
use lockstep_tests::handover::{self, Options};

use crate::binary::lockstep_binary;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_should_hand_the_key_on_while_payments_flow() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let options = Options { members: 4, added: 0, folder: folder.path().join("group"), binary: lockstep_binary()? };
    let report = Box::pin(handover::run(options, &mut |_| ())).await?;
    let participants: Vec<_> = report.ceremonies.iter().map(|(_, costs)| costs.len()).collect();
    assert_eq!(participants, [4, 5], "four made the key; they and a newcomer handed it on");
    assert!(report.payments >= 2, "payments flowed meanwhile");
    assert!(report.ceremonies.iter().flat_map(|(_, costs)| costs).all(|cost| cost.received > 0 && cost.sent > 0));
    Ok(())
}

//! A process whose memory nobody else can read: it holds keys.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Lets no core file of this process be written, and no other process of the same user read or trace it (`prctl(2)`
/// PR_SET_DUMPABLE, `setrlimit(2)` RLIMIT_CORE). The limit is inherited by children; being traced is theirs to decide.
///
/// # Errors
/// What the system refuses.
pub fn keep_memory_private() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn process_should_leave_no_core_and_not_be_traced() {
        keep_memory_private().expect("the system lets it");
        assert_eq!(dumpable_behavior().expect("it says"), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}

//! Where the binary is that tests run as a process of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// `lockstep` of the build that this test belongs to.
pub(crate) fn lockstep_binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let built = test.parent().and_then(Path::parent).context("a test stands in target/<profile>/deps")?;
    let binary = built.join(format!("lockstep{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        binary.is_file(),
        "{} is not there: run `cargo build -p lockstep` first, as `make test` does",
        binary.display()
    );
    Ok(binary)
}

//! A proposal as a file: how it travels between operators, who may have it from anybody.

use lockstep_core::B256;
use lockstep_core::govern::{Subject, SubjectError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The JSON of the file. Only `proposal` is read; the rest is for people, and the digest is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalFile {
    /// What it says, in words.
    pub says: Vec<String>,
    /// [`Subject::digest`] of what is proposed.
    pub digest: B256,
    /// What is proposed.
    pub proposal: Subject,
}

impl ProposalFile {
    /// Reads the text of a file. Whether what it proposes may be approved is judged elsewhere.
    ///
    /// # Errors
    /// What is no proposal, and one that names another digest than its own.
    pub fn parse(text: &str) -> Result<Self, ProposalFileError> {
        let file: Self = serde_json::from_str(text)?;
        let found = file.proposal.digest()?;
        if found == file.digest { Ok(file) } else { Err(ProposalFileError::Digest { named: file.digest, found }) }
    }
}

/// Why a file is no proposal.
#[derive(Debug, Error)]
pub enum ProposalFileError {
    /// Other JSON, or a subject that cannot be.
    #[error("it is no proposal")]
    Form(#[from] serde_json::Error),
    /// A subject without bytes.
    #[error("its proposal has no digest")]
    Subject(#[from] SubjectError),
    /// Somebody changed one of the two.
    #[error("it names digest {named}, but what it proposes has {found}")]
    Digest {
        /// In the file.
        named: B256,
        /// Of what is proposed.
        found: B256,
    },
}

#[cfg(test)]
mod tests {
    use lockstep_core::operation::DecisionBody;

    use super::*;

    #[test]
    fn a_file_that_names_another_digest_should_be_refused() {
        let body = DecisionBody::Bounce { chain: 1, k: 2 };
        let proposal = Subject::Decision { group_id: B256::repeat_byte(7), number: 3, body };
        let digest = proposal.digest().expect("a digest");
        let file = ProposalFile { says: vec!["a bounce".to_owned()], digest, proposal };
        let other = ProposalFile { digest: B256::ZERO, ..file.clone() };
        let parse = |file: &ProposalFile| ProposalFile::parse(&serde_json::to_string(file).expect("JSON"));
        assert!(
            matches!(parse(&other), Err(ProposalFileError::Digest { named, found }) if named.is_zero() && found == digest)
        );
        assert_eq!(parse(&file).expect("as it was written"), file);
        assert!(matches!(ProposalFile::parse("{}"), Err(ProposalFileError::Form(_))));
    }
}

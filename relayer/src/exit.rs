//! Exit codes: what scripts and service managers go by.

use std::process::ExitCode;

/// How the process ends (DESIGN.md section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done as asked.
    Done,
    /// The input is malformed.
    BadInput,
    /// The input is well-formed and the answer is no.
    Negative,
    /// The configuration is wrong: starting again will not help.
    Configuration,
    /// A contradiction: a person must look.
    Halted,
    /// Something outside does not answer: starting again may help.
    TryAgain,
}

impl Exit {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::BadInput => 1,
            Self::Negative => 2,
            Self::Configuration => 64,
            Self::Halted => 70,
            Self::TryAgain => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_should_be_those_of_the_design() {
        let all = [Exit::Done, Exit::BadInput, Exit::Negative, Exit::Configuration, Exit::Halted, Exit::TryAgain];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 64, 70, 75]);
    }
}

//! What can be wrong with credentials.

/// Why a request cannot be authorized. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Nothing is set. The user's to mend.
    #[error("no {what}: {fix}")]
    Missing {
        /// What is missing, for instance `Clarifai token`.
        what: String,
        /// The command or setting that supplies it.
        fix: String,
    },
    /// Something is set that cannot be used. The user's to mend.
    #[error("{from} cannot be used: {problem}")]
    Unusable {
        /// The variable or file.
        from: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The token service rejected the credential. The user's to mend.
    #[error("{service} rejected the credentials of {from}: {problem}")]
    Rejected {
        /// Who rejected it.
        service: String,
        /// Where the credential came from.
        from: String,
        /// The service's words.
        problem: String,
    },
    /// The token service did not answer, or not as documented. May be tried again.
    #[error("{service} gave no token: {problem}")]
    Unreachable {
        /// Who was asked.
        service: String,
        /// What was seen.
        problem: String,
    },
}

impl CredentialError {
    /// May the same be tried again with a chance of success?
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

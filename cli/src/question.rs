//! Asks the HTTP API. An answer that does not come in time is an error, never a wait.

use std::time::Duration;

use api::{Answer, Clients, Streams, Versions};
use serde::de::DeserializeOwned;

/// How long one question may take from the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(2);

/// The HTTP API of one server.
#[derive(Debug)]
pub(crate) struct Api {
    base: String,
    agent: ureq::Agent,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Nobody there, or nobody answers.
    Unreachable { base: String, cause: ureq::Error },
    /// Somebody is there, but it is not the API.
    Status { url: String, status: u16 },
    /// The answer is not understood.
    Answer { url: String, cause: ureq::Error },
    /// The server says that it failed.
    Code { url: String, code: u32 },
}

impl std::fmt::Display for AskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable { base, cause } => write!(
                f,
                "no answer from the API at {base}: {cause}. Is the server running, with \"http_api {{ enabled on; \
                 listen ADDRESS; }}\" in its configuration? Another address is given by --api URL."
            ),
            Self::Status { url, status } => {
                write!(f, "{url} answered with HTTP status {status}: is that the API of SRS?")
            }
            Self::Answer { url, cause } => write!(f, "the answer of {url} is not understood: {cause}"),
            Self::Code { url, code } => write!(f, "{url} answered with error code {code}"),
        }
    }
}

impl Api {
    /// An API at `base`, such as `http://127.0.0.1:1985` or `127.0.0.1:1985`.
    pub(crate) fn new(base: &str) -> Self {
        let base = base.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .http_status_as_error(false)
            .build();
        Self { base, agent: config.into() }
    }

    pub(crate) fn streams(&self) -> Result<Answer<Streams>, AskError> {
        self.ask("streams")
    }

    pub(crate) fn clients(&self) -> Result<Answer<Clients>, AskError> {
        self.ask("clients")
    }

    pub(crate) fn versions(&self) -> Result<Answer<Versions>, AskError> {
        self.ask("versions")
    }

    fn ask<T: DeserializeOwned>(&self, what: &str) -> Result<Answer<T>, AskError> {
        let url = format!("{}/api/v1/{what}", self.base);
        let mut response = self
            .agent
            .get(&url)
            .call()
            .map_err(|cause| AskError::Unreachable { base: self.base.clone(), cause })?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(AskError::Status { url, status });
        }
        match response.body_mut().read_json::<Answer<T>>() {
            Ok(answer) if answer.code == 0 => Ok(answer),
            Ok(answer) => Err(AskError::Code { url, code: answer.code }),
            Err(cause) => Err(AskError::Answer { url, cause }),
        }
    }
}

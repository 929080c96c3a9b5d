//! Asks the HTTP API. An answer that does not come in time is an error, never a wait.

use std::path::Path;
use std::thread;
use std::time::Duration;

use api::{
    Answer, Clients, Data, Done, Dvr, HlsList, Kicked, Processes, Record, RecordAnswer, Reload, Streams,
    Token, Version, Vhosts,
};
use base64::Engine as _;
use http1::encode;
use serde::de::DeserializeOwned;

use crate::snapshot::{Detail, Snapshot};

/// How long one question may take from the connection to the last byte. The API itself waits 800 ms for a process.
const PATIENCE: Duration = Duration::from_millis(950);
/// A reload may take as long as processes may take to apply it.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer.
const MOST_BYTES: u64 = 256 << 20;

/// The HTTP API of one server.
#[derive(Debug, Clone)]
pub(crate) struct HttpApi {
    /// Without name and password.
    pub(crate) base: String,
    authorization: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Nobody there, or nobody answers.
    Unreachable { base: String, cause: ureq::Error },
    /// It wants to know who asks.
    Denied { url: String, why: String },
    /// Somebody is there, but it is not the API.
    Status { url: String, status: u16 },
    /// The answer is not understood.
    Answer { url: String, cause: ureq::Error },
    /// The server says that it failed.
    Refused { why: String },
}

impl std::fmt::Display for AskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable { base, cause } => write!(
                f,
                "no answer from the API at {base}: {cause}. Is the server running, with \"http_api {{ enabled on; \
                 listen ADDRESS; }}\" in its configuration? Another address is given by --api URL."
            ),
            Self::Denied { url, why } => write!(
                f,
                "{url} does not let us in: {why}. The token is in the file `token` of the server's runtime_dir: \
                 --token-file FILE"
            ),
            Self::Status { url, status } => {
                write!(f, "{url} answered with HTTP status {status}: is that the API of SRS?")
            }
            Self::Answer { url, cause } => write!(f, "the answer of {url} is not understood: {cause}"),
            Self::Refused { why } => f.write_str(why),
        }
    }
}

enum Verb {
    Get,
    Post,
    Delete,
}

impl HttpApi {
    /// Host and port, without what may be secret.
    pub(crate) fn node(&self) -> String {
        let host = self.base.split_once("://").map_or("", |(_, host)| host);
        host.rsplit_once('@').map_or(host, |(_, host)| host).to_owned()
    }

    /// An API at `base`, such as `http://127.0.0.1:1985`, `127.0.0.1:1985` or `http://name:password@host:1985`.
    pub(crate) fn new(base: &str, token: Option<&Token>) -> Self {
        let base = base.trim_end_matches('/');
        let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
        let (password, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let basic =
            |password: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(password));
        let bearer = token.map(|token| format!("Bearer {}", token.reveal()));
        Self { base: format!("{scheme}://{host}"), authorization: bearer.or_else(|| password.map(basic)) }
    }

    /// The whole server.
    pub(crate) fn look(&self, want: Detail) -> Result<Snapshot, AskError> {
        let more = (want == Detail::Clients).then(|| {
            let (clients, vhosts) = (self.clone(), self.clone());
            let clients = thread::spawn(move || clients.get::<Clients>("clients"));
            (clients, thread::spawn(move || vhosts.get::<Vhosts>("vhosts")))
        });
        let (streams, version) = (self.clone(), self.clone());
        let streams = thread::spawn(move || streams.get::<Streams>("streams"));
        let version = thread::spawn(move || version.versions());
        let answer: Answer<Processes> = self.get("processes")?;
        let master = answer.data.processes.first();
        let mut snapshot = Snapshot {
            node: self.node(),
            server: answer.server,
            version: joined(version)?,
            uptime_ms: master.map_or(0, |master| master.uptime_ms),
            generation: master.map_or(0, |master| master.generation),
            totals: answer.data.totals,
            ended: answer.data.ended,
            externals: answer.data.externals,
            processes: answer.data.processes,
            streams: joined(streams)?.data.streams,
            note: answer.data.log_trouble.map(|why| format!("the log is not where it is to be: {why}")),
            ..Snapshot::default()
        };
        if let Some((clients, vhosts)) = more {
            snapshot.clients = joined(clients)?.data.clients;
            snapshot.vhosts = joined(vhosts)?.data.vhosts;
        }
        if want == Detail::Media {
            snapshot.hls = self.get::<HlsList>("hls")?.data.hls;
            snapshot.dvr = self.get::<Dvr>("dvr")?.data;
        }
        Ok(snapshot)
    }

    /// Records a stream from now on, or no longer.
    pub(crate) fn record(&self, record: &Record) -> Result<RecordAnswer, AskError> {
        #[derive(serde::Deserialize)]
        struct Said {
            recording: bool,
        }
        let order = if record.on { "start" } else { "stop" };
        let Record { vhost, app, name, .. } = record;
        let path = format!("dvr/{order}?vhost={}&app={}&stream={}", encode(vhost), encode(app), encode(name));
        match self.ask::<Answer<Said>>(&Verb::Post, &path, PATIENCE) {
            Ok(answer) => Ok(RecordAnswer { recording: answer.data.recording, error: None }),
            Err(AskError::Refused { why }) => Ok(RecordAnswer { recording: !record.on, error: Some(why) }),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn versions(&self) -> Result<String, AskError> {
        Ok(self.get::<Data<Version>>("versions")?.data.data.version)
    }

    /// Closes a connection; `false` when there is none of that id.
    pub(crate) fn kick(&self, id: u64) -> Result<bool, AskError> {
        match self.ask::<Answer<Kicked>>(&Verb::Delete, &format!("clients/{id}"), PATIENCE) {
            Ok(answer) => Ok(answer.data.kicked),
            Err(AskError::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn reload(&self, dry_run: bool) -> Result<Reload, AskError> {
        #[derive(serde::Deserialize)]
        struct Reloaded {
            reload: Reload,
        }
        let path = if dry_run { "reload?dry_run=1" } else { "reload" };
        Ok(self.ask::<Reloaded>(&Verb::Post, path, RELOAD_PATIENCE)?.reload)
    }

    pub(crate) fn drain(&self, process: &str, within_s: Option<u64>) -> Result<Done, AskError> {
        let (role, slot) = process.split_once('#').unwrap_or((process, "0"));
        let end = within_s.map_or_else(String::new, |seconds| format!("?timeout={seconds}"));
        let answer: Answer<Done> =
            self.ask(&Verb::Post, &format!("processes/{role}/{slot}/drain{end}"), PATIENCE)?;
        Ok(answer.data)
    }

    fn get<T: DeserializeOwned>(&self, what: &str) -> Result<Answer<T>, AskError> {
        self.ask(&Verb::Get, what, PATIENCE)
    }

    fn ask<T: DeserializeOwned>(&self, verb: &Verb, what: &str, patience: Duration) -> Result<T, AskError> {
        let url = format!("{}/api/v1/{what}", self.base);
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .proxy(None)
            .http_status_as_error(false)
            .build()
            .new_agent();
        let with = |name: &str| self.authorization.as_ref().filter(|_| name == "Authorization").cloned();
        let sent = match (verb, with("Authorization")) {
            (Verb::Get, Some(said)) => agent.get(&url).header("Authorization", said).call(),
            (Verb::Get, None) => agent.get(&url).call(),
            (Verb::Delete, Some(said)) => agent.delete(&url).header("Authorization", said).call(),
            (Verb::Delete, None) => agent.delete(&url).call(),
            (Verb::Post, Some(said)) => agent.post(&url).header("Authorization", said).send_empty(),
            (Verb::Post, None) => agent.post(&url).send_empty(),
        };
        let mut response = sent.map_err(|cause| AskError::Unreachable { base: self.base.clone(), cause })?;
        let status = response.status().as_u16();
        if status != 200 {
            #[derive(serde::Deserialize)]
            struct Reason {
                reason_phrase: String,
            }
            let reason =
                response.body_mut().read_json::<Data<Reason>>().ok().map(|said| said.data.reason_phrase);
            return Err(match (status, reason) {
                (401 | 403 | 429, Some(why)) => AskError::Denied { url, why },
                (409 | 503, Some(why)) => AskError::Refused { why },
                (status, _) => AskError::Status { url, status },
            });
        }
        let read = response.body_mut().with_config().limit(MOST_BYTES).read_json::<T>();
        read.map_err(|cause| AskError::Answer { url, cause })
    }
}

fn joined<T>(thread: thread::JoinHandle<Result<T, AskError>>) -> Result<T, AskError> {
    thread.join().unwrap_or_else(|_| Err(AskError::Refused { why: "a question has failed".to_owned() }))
}

/// The token in a file.
pub(crate) fn token(path: &Path) -> Option<Token> {
    Token::read(&std::fs::read_to_string(path).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_passwords_are_told_apart() {
        for (base, wanted, said) in [
            ("127.0.0.1:1985", "http://127.0.0.1:1985", None),
            ("http://127.0.0.1:1985/", "http://127.0.0.1:1985", None),
            ("http://admin:se@cret@host:1985", "http://host:1985", Some("Basic YWRtaW46c2VAY3JldA==")),
            ("https://host", "https://host", None),
        ] {
            let api = HttpApi::new(base, None);
            assert_eq!((api.base.as_str(), api.authorization.as_deref()), (wanted, said), "{base}");
        }
        let token = Token::from_random(&[1; 32]);
        let api = HttpApi::new("http://a:b@c", Some(&token));
        assert_eq!(api.authorization.unwrap(), format!("Bearer {}", token.reveal()), "the token opens more");
    }
}

//! Who may do what at the management API.
//!
//! | | who |
//! |---|---|
//! | reads | programs on this host, but no proxy for others; everybody with `reads all`; with `auth` on, those who know name and password; nobody with `reads token` |
//! | what changes the server | who has the token |
//! | metrics | everybody: the exporter is off unless it is wanted |
//!
//! The token opens everything. A page in a browser is kept out by the name under which it asks (`Host`) and, for changes, by
//! where it comes from (`Origin`) and by the token, which it can't know.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use api::Token;
use base64::Engine as _;
use conf::Config;
use conf::config::{Credentials, Reads};
use subtle::ConstantTimeEq;
use tiny_http::{Header, Request};

use super::head::{DOOR, PEER, VIA};

/// Wrong guesses of one address within [`WINDOW_MS`]; then it is not listened to any more.
const MOST_FAILURES: usize = 20;
const WINDOW_MS: u64 = 60_000;
/// Addresses that are remembered.
const MOST_ADDRESSES: usize = 4096;

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To know something.
    Read,
    /// To change something.
    Write,
    /// The same by a path of nginx-rtmp, whose scripts have no token.
    Control,
}

/// Why it does not get it: a status and a sentence.
pub(crate) type Refusal = (u16, &'static str);

/// Wrong guesses, by address.
#[derive(Debug, Default)]
pub(crate) struct Failures(HashMap<IpAddr, Vec<u64>>);

impl Failures {
    fn too_many(&mut self, ip: IpAddr, now_ms: u64) -> bool {
        let Some(times) = self.0.get_mut(&ip) else { return false };
        times.retain(|at| now_ms.saturating_sub(*at) < WINDOW_MS);
        times.len() >= MOST_FAILURES
    }

    fn note(&mut self, ip: IpAddr, now_ms: u64) {
        if self.0.len() >= MOST_ADDRESSES && !self.0.contains_key(&ip) {
            self.0.retain(|_, times| times.last().is_some_and(|at| now_ms.saturating_sub(*at) < WINDOW_MS));
            if self.0.len() >= MOST_ADDRESSES {
                self.0.clear();
            }
        }
        self.0.entry(ip).or_default().push(now_ms);
    }
}

/// The value of a header.
pub(crate) fn header<'r>(request: &'r Request, name: &'static str) -> Option<&'r str> {
    request
        .headers()
        .iter()
        .find(|header: &&Header| header.field.equiv(name))
        .map(|header| header.value.as_str())
}

/// Who asks, as the gate says. Who came round the gate is nobody.
pub(crate) fn peer(request: &Request) -> Option<IpAddr> {
    header(request, PEER)?.parse().ok()
}

/// Whether a request came to the exporter's socket.
pub(crate) fn is_for_metrics(request: &Request, config: &Config) -> bool {
    let door = header(request, DOOR).and_then(|door| door.parse::<SocketAddr>().ok());
    config.exporter.enabled && door == Some(config.exporter.listen)
}

/// Whether a request may have what it wants.
pub(crate) fn check(
    request: &Request,
    wish: Wish,
    config: &Config,
    token: &Token,
    failures: &mut Failures,
    now_ms: u64,
) -> Result<(), Refusal> {
    let Some(peer) = peer(request) else { return Err((403, "nobody asks")) };
    if !header(request, "Host").is_none_or(|host| is_known_host(host, &config.http_api.hosts)) {
        return Err((403, "the API does not answer under this name: see http_api { hosts NAME; }"));
    }
    let foreign = |origin: &str| {
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        !is_known_host(host, &config.http_api.hosts)
    };
    if wish != Wish::Read && header(request, "Origin").is_some_and(foreign) {
        return Err((403, "pages of other sites can't change anything"));
    }
    let said = header(request, "Authorization").unwrap_or("");
    // Who says nothing guesses nothing: one program that guesses on this host does not shut out the others' reads.
    if !said.is_empty() && failures.too_many(peer, now_ms) {
        return Err((429, "too many wrong guesses: come back in a minute"));
    }
    // A proxy on this host asks for the world.
    let through_proxy = header(request, VIA).is_some();
    let is_token = said.strip_prefix("Bearer ").is_some_and(|said| token.matches(said.trim()));
    let auth = config.http_api.auth.as_ref();
    let knows_password = auth.is_some_and(|auth| is_password(said, auth));
    let reads = match auth {
        Some(_) => knows_password,
        None => match config.http_api.reads {
            Reads::All => true,
            Reads::Loopback => peer.is_loopback() && !through_proxy,
            Reads::Token => false,
        },
    };
    // Scripts of this host, where they are let in; browsers say what they are, and any page can make them ask.
    let browser = ["Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode"];
    let by_script = wish == Wish::Control
        && config.http_api.control_for_loopback
        && peer.is_loopback()
        && !through_proxy
        && !browser.iter().any(|name| header(request, name).is_some());
    let allowed = is_token || by_script || wish == Wish::Read && reads;
    if allowed {
        return Ok(());
    }
    if !said.is_empty() && !knows_password {
        failures.note(peer, now_ms);
    }
    match wish {
        Wish::Read if through_proxy => Err((
            401,
            "the request came through a proxy: the API answers who has the token, or knows the password, or everybody \
             with http_api { reads all; }",
        )),
        Wish::Read => Err((401, "the API answers who is on this host, has the token, or knows the password")),
        Wish::Write => Err((401, "what changes the server needs the token: Authorization: Bearer TOKEN")),
        Wish::Control => Err((
            401,
            "/control needs the token (Authorization: Bearer TOKEN), or http_api { nginx_control loopback; } for programs on \
             this host",
        )),
    }
}

fn is_password(said: &str, wanted: &Credentials) -> bool {
    let decoded = said
        .strip_prefix("Basic ")
        .and_then(|said| base64::engine::general_purpose::STANDARD.decode(said.trim()).ok());
    let wanted = format!("{}:{}", wanted.username, wanted.password);
    // An empty password opens nothing.
    wanted.len() > 1 && decoded.is_some_and(|said| bool::from(said.ct_eq(wanted.as_bytes())))
}

/// A name that this server is known under: an address, localhost, this machine's name, or one of the configured.
fn is_known_host(host: &str, configured: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let name = name.trim_end_matches('.');
    let own = nix::unistd::gethostname().ok();
    let own = own.as_ref().and_then(|own| own.to_str()).unwrap_or("localhost");
    name.parse::<IpAddr>().is_ok()
        || name.parse::<Ipv6Addr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.eq_ignore_ascii_case(own)
        || configured.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_ours_are_known() {
        let configured = ["media.example.com".to_owned()];
        for host in
            ["127.0.0.1:1985", "[::1]:1985", "localhost", "LOCALHOST:1", "Media.example.com.:80", "10.0.0.1"]
        {
            assert!(is_known_host(host, &configured), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "example.com"]
        {
            assert!(!is_known_host(host, &configured), "{host}");
        }
    }

    #[test]
    fn passwords_are_compared_as_a_whole_and_an_empty_one_is_none() {
        let encode = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
        let wanted = Credentials { username: "admin".to_owned(), password: "secret".to_owned() };
        assert!(is_password(&encode("admin:secret"), &wanted));
        for said in ["admin:secre", "admin:secret2", "admin:", ":", ""] {
            assert!(!is_password(&encode(said), &wanted), "{said}");
        }
        let nobody = Credentials { username: String::new(), password: String::new() };
        assert!(!is_password(&encode(":"), &nobody));
    }

    #[test]
    fn who_guesses_wrongly_is_not_listened_to_for_a_minute() {
        let mut failures = Failures::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        for now_ms in 0..20 {
            assert!(!failures.too_many(ip, now_ms));
            failures.note(ip, now_ms);
        }
        assert!(failures.too_many(ip, 20) && !failures.too_many("192.0.2.2".parse().unwrap(), 20));
        assert!(!failures.too_many(ip, 70_000));
        for n in 0..10_000_u32 {
            failures.note(IpAddr::V4(n.into()), 80_000);
        }
        assert!(failures.0.len() <= MOST_ADDRESSES);
    }
}

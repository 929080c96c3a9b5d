//! The console: pages that are part of the executable, what they need to know of the server, and events for them. What they
//! show comes from the management API, which they ask through this server (`proxy.rs`).

use std::sync::OnceLock;

use bytes::Bytes;
use conf::{Config, Lookup};
use http1::{Path, Request, Response};
use qrcode::QrCode;
use qrcode::render::svg;

use super::answer::{Answer, Content, Heads};
use super::files;

/// What a page may load and do: only what comes from here, no script or style inside of it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
/// Longest text in a code for phones.
const MAX_CODE: usize = 512;

/// A file that is part of the executable.
struct Asset {
    name: &'static str,
    bytes: &'static [u8],
    made: OnceLock<(String, Vec<u8>)>,
}

macro_rules! assets {
    ($($name:literal)*) => {
        [$(Asset {
            name: $name,
            bytes: include_bytes!(concat!("../../../console/", $name)),
            made: OnceLock::new(),
        }),*]
    };
}

static ASSETS: [Asset; 21] = assets! {
    "landing.html" "dashboard.html" "stream.html" "publish.html" "style.css" "icon.svg"
    "js/addresses.js" "js/api.js" "js/dashboard.js" "js/flv.js" "js/flv_player.js" "js/format.js" "js/fragments.js"
    "js/i18n.js" "js/landing.js" "js/lists.js" "js/player.js" "js/processes.js" "js/publish.js" "js/spark.js"
    "js/stream.js"
};

impl Asset {
    fn find(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.name == name)
    }

    /// Its tag, and its bytes compressed.
    fn made(&self) -> &(String, Vec<u8>) {
        self.made.get_or_init(|| {
            // FNV-1a: another version of a page has another tag.
            let hash = self.bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            (format!("\"{hash:016x}\""), files::gzip(self.bytes))
        })
    }
}

/// What a path of the console's means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// A file of this name.
    Asset(String),
    /// Another page.
    Redirect(&'static str),
    /// Events, without an end.
    Events,
    /// What pages need to know of the server.
    Server,
    /// A code for phones.
    Code,
}

/// The page of a path below `/console/`.
pub(crate) fn page(path: &Path) -> Option<Page> {
    let components: Vec<&str> = path.components().iter().map(String::as_str).collect();
    Some(match components.as_slice() {
        ["console"] if !path.is_directory => Page::Redirect("/console/"),
        ["console"] => Page::Asset("dashboard.html".to_owned()),
        ["console", "events"] => Page::Events,
        ["console", "server.json"] => Page::Server,
        ["console", "qr.svg"] => Page::Code,
        ["console", rest @ ..] => Page::Asset(rest.join("/")),
        _ => return None,
    })
}

/// Where there is no file of that name: the first page, and the names that the reference's pages had.
pub(crate) fn former_page(path: &Path) -> Option<Page> {
    let components: Vec<&str> = path.components().iter().map(String::as_str).collect();
    let name = match components.as_slice() {
        ["favicon.ico"] => return Some(Page::Asset("icon.svg".to_owned())),
        [] => return Some(Page::Asset("landing.html".to_owned())),
        ["players"] => "index.html",
        ["players", name] | [name] => name,
        _ => return None,
    };
    Some(Page::Redirect(match name {
        "srs_player.html" | "srs_player" | "vlc.html" | "jwplayer6.html" | "osmf.html" => {
            "/console/stream.html"
        }
        "srs_publisher.html" | "srs_publisher" => "/console/publish.html",
        "index.html" if components.len() > 1 || components == ["players"] => "/console/",
        "srs_bwt.html" | "srs_chat.html" => "/console/",
        _ => return None,
    }))
}

/// A head of the console's; `version` is the server's.
fn head(status: u16, version: &str) -> Response {
    Response::new(status)
        .field("Server", format!("SRS/{version}"))
        .field("Content-Security-Policy", POLICY)
        .field("X-Content-Type-Options", "nosniff")
        .field("Referrer-Policy", "same-origin")
        .field("Cache-Control", "no-cache")
}

/// The head in front of events for pages (HTML, server-sent events).
pub(crate) fn events_head(version: &str) -> Response {
    head(200, version).field("Content-Type", "text/event-stream")
}

/// What a page is answered with; nothing where it is events.
pub(crate) fn answer(page: &Page, request: &Request, heads: &Heads, config: &Config) -> Option<Answer> {
    Some(match page {
        Page::Asset(name) => asset(name, request, heads),
        Page::Redirect(to) => redirect(request, to, &heads.version),
        Page::Server => server_facts(request, &heads.version, config),
        Page::Code => code(request, heads),
        Page::Events => return None,
    })
}

fn asset(name: &str, request: &Request, heads: &Heads) -> Answer {
    let Some(asset) = Asset::find(name) else { return heads.not_found() };
    let (tag, compressed) = asset.made();
    let head = |status| head(status, &heads.version).field("ETag", tag);
    if http1::is_unchanged(request, tag, 0) {
        return Answer { head: head(304), content: Content::Nothing };
    }
    let head = head(200).field("Content-Type", http1::mime::of(name)).field("Vary", "Accept-Encoding");
    if request.accepts_gzip {
        let body = Bytes::from_static(compressed.as_slice());
        Answer::whole(head.field("Content-Encoding", "gzip"), body)
    } else {
        Answer::whole(head, Bytes::from_static(asset.bytes))
    }
}

/// To another page of ours, with the same parameters.
fn redirect(request: &Request, to: &str, version: &str) -> Answer {
    let query = &request.query;
    let plain = query.bytes().all(|byte| byte.is_ascii_graphic());
    let to = if plain && !query.is_empty() { format!("{to}?{query}") } else { to.to_owned() };
    Answer::whole(head(302, version).field("Location", to), Bytes::new())
}

/// What anybody may know of the server: where encoders publish to.
fn server_facts(request: &Request, version: &str, config: &Config) -> Answer {
    // What the vhost of a stream serves over HTTP: pages offer nothing else.
    let name = request.parameter("vhost").filter(|name| !name.is_empty());
    let serves = match config.vhost(name.as_deref().unwrap_or(&request.host)) {
        Lookup::Found(vhost) => {
            let live: &[&str] = if vhost.http_remux.enabled { &[".flv", ".mp4", ".ts"] } else { &[] };
            let hls: &[&str] = if vhost.hls.enabled { &[".m3u8"] } else { &[] };
            [live, hls].concat()
        }
        Lookup::Disabled(_) | Lookup::NotFound => Vec::new(),
    };
    let facts = serde_json::json!({
        "version": version,
        "rtmp_port": config.first_port(),
        "api": config.http_api.enabled,
        "serves": serves,
    });
    Answer::whole(
        head(200, version).field("Content-Type", "application/json;charset=utf-8"),
        facts.to_string(),
    )
}

/// A text as a code for a phone's camera.
fn code(request: &Request, heads: &Heads) -> Answer {
    let text = request.parameter("text").filter(|text| (1..=MAX_CODE).contains(&text.len()));
    let Some(code) = text.and_then(|text| QrCode::new(text).ok()) else { return heads.refusal(400) };
    let picture = code.render::<svg::Color<'_>>().min_dimensions(190, 190).build();
    Answer::whole(head(200, &heads.version).field("Content-Type", "image/svg+xml"), picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_only_what_is_there() {
        for asset in ASSETS.iter().filter(|asset| asset.name.ends_with(".html")) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for piece in text.split("\"/console/").skip(1) {
                let name = piece.split(['"', '?']).next().unwrap();
                assert!(name.is_empty() || Asset::find(name).is_some(), "{}: {name}", asset.name);
            }
            // The policy forbids what stands inside of a page.
            assert!(
                !text.contains("<style") && !text.contains("style=") && !text.contains("<script>"),
                "{}",
                asset.name
            );
            assert!(!text.contains("http://") && !text.contains("https://"), "{}: outside", asset.name);
        }
        for asset in ASSETS.iter().filter(|asset| asset.name.starts_with("js/")) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for piece in text.split("from \"./").skip(1) {
                let name = format!("js/{}", piece.split('"').next().unwrap());
                assert!(Asset::find(&name).is_some(), "{}: {name}", asset.name);
            }
        }
        let all: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(all < 300_000, "{all} bytes");
    }
}

//! The console: pages that are part of the executable, what they need to know of the server, and events for them. What they
//! show comes from the management API, which they ask through this server (`tunnel.rs`).

use std::sync::OnceLock;

use bytes::Bytes;
use conf::config::Lookup;
use http1::{Method, Request, Response};
use qrcode::QrCode;
use qrcode::render::svg;

use super::answers::finish;
use super::connection::{Body, State};
use super::files;
use super::server::Web;

/// What a page may load and do: only what comes from here, no script or style inside of it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
/// Longest text in a code for phones.
const MAX_CODE: usize = 512;
/// Pages that listen to events at the same time.
const MAX_LISTENERS: usize = 64;
/// How often a page hears that it is still connected, ms.
pub(crate) const PING_MS: u64 = 10_000;

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

impl Web {
    /// Answers what is below `/console/`; `false` when the path is none of the console's.
    pub(crate) fn console(&mut self, key: usize, request: &Request) -> bool {
        if !self.config.http_server.console {
            return false;
        }
        let components: Vec<&str> = request.path.components().iter().map(String::as_str).collect();
        match components.as_slice() {
            ["console"] if !request.path.is_directory => self.redirect(key, request, "/console/"),
            ["console"] => self.asset(key, request, "dashboard.html"),
            ["console", "events"] => self.listen_to_events(key, request),
            ["console", "server.json"] => self.server_facts(key, request),
            ["console", "qr.svg"] => self.code(key, request),
            ["console", rest @ ..] => self.asset(key, request, &rest.join("/")),
            _ => return false,
        }
        true
    }

    /// Where there is no file of that name: the first page, and the names that the reference's pages had.
    pub(crate) fn old_names(&mut self, key: usize, request: &Request) -> bool {
        if !self.config.http_server.console {
            return false;
        }
        let components: Vec<&str> = request.path.components().iter().map(String::as_str).collect();
        let name = match components.as_slice() {
            ["favicon.ico"] => {
                self.asset(key, request, "icon.svg");
                return true;
            }
            [] => {
                self.asset(key, request, "landing.html");
                return true;
            }
            ["players"] => "index.html",
            ["players", name] | [name] => name,
            _ => return false,
        };
        let to = match name {
            "srs_player.html" | "srs_player" | "vlc.html" | "jwplayer6.html" | "osmf.html" => {
                "/console/stream.html"
            }
            "srs_publisher.html" | "srs_publisher" => "/console/publish.html",
            "index.html" if components.len() > 1 || components == ["players"] => "/console/",
            "srs_bwt.html" | "srs_chat.html" => "/console/",
            _ => return false,
        };
        self.redirect(key, request, to);
        true
    }

    fn console_head(&self, status: u16) -> Response {
        Response::new(status)
            .field("Server", format!("SRS/{}", self.version))
            .field("Content-Security-Policy", POLICY)
            .field("X-Content-Type-Options", "nosniff")
            .field("Referrer-Policy", "same-origin")
            .field("Cache-Control", "no-cache")
    }

    fn asset(&mut self, key: usize, request: &Request, name: &str) {
        let Some(asset) = Asset::find(name) else { return self.not_found(key, request.method) };
        let (tag, compressed) = asset.made();
        let response = |web: &Self, status| web.console_head(status).field("ETag", tag);
        if http1::is_unchanged(request, tag, 0) {
            let Some(connection) = self.connections.get(key) else { return };
            let head = finish(response(self, 304), connection.keep_alive);
            if let Some(connection) = self.connections.get_mut(key) {
                connection.outbox.push(head.into_bytes());
                connection.state = State::Answer(Body::Rest);
            }
            return;
        }
        let response =
            response(self, 200).field("Content-Type", http1::mime::of(name)).field("Vary", "Accept-Encoding");
        let (response, body) = if request.accepts_gzip {
            (response.field("Content-Encoding", "gzip"), Bytes::from_static(compressed.as_slice()))
        } else {
            (response, Bytes::from_static(asset.bytes))
        };
        self.reply(key, request.method, response, body);
    }

    /// To another page of ours, with the same parameters.
    fn redirect(&mut self, key: usize, request: &Request, to: &str) {
        let query = &request.query;
        let plain = query.bytes().all(|byte| byte.is_ascii_graphic());
        let to = if plain && !query.is_empty() { format!("{to}?{query}") } else { to.to_owned() };
        let response = self.console_head(302).field("Location", to);
        self.reply(key, request.method, response, Bytes::new());
    }

    /// What anybody may know of the server: where encoders publish to.
    fn server_facts(&mut self, key: usize, request: &Request) {
        // What the vhost of a stream serves over HTTP: pages offer nothing else.
        let name = request.parameter("vhost").filter(|name| !name.is_empty());
        let serves = match self.config.vhost(name.as_deref().unwrap_or(&request.host)) {
            Lookup::Found(vhost) => {
                let live: &[&str] = if vhost.http_remux.enabled { &[".flv", ".mp4", ".ts"] } else { &[] };
                let hls: &[&str] = if vhost.hls.enabled { &[".m3u8"] } else { &[] };
                [live, hls].concat()
            }
            Lookup::Disabled(_) | Lookup::NotFound => Vec::new(),
        };
        let facts = serde_json::json!({
            "version": self.version,
            "rtmp_port": self.config.first_port(),
            "api": self.config.http_api.enabled,
            "serves": serves,
        });
        let response = self.console_head(200).field("Content-Type", "application/json;charset=utf-8");
        self.reply(key, request.method, response, facts.to_string().into());
    }

    /// A text as a code for a phone's camera.
    fn code(&mut self, key: usize, request: &Request) {
        let text = request.parameter("text").filter(|text| (1..=MAX_CODE).contains(&text.len()));
        let Some(code) = text.and_then(|text| QrCode::new(text).ok()) else { return self.refuse(key, 400) };
        let picture = code.render::<svg::Color<'_>>().min_dimensions(190, 190).build();
        let response = self.console_head(200).field("Content-Type", "image/svg+xml");
        self.reply(key, request.method, response, picture.into());
    }

    /// Events for pages (HTML, server-sent events). They say only that there is something new to ask the API for.
    fn listen_to_events(&mut self, key: usize, request: &Request) {
        if self.event_listeners.len() >= MAX_LISTENERS {
            return self.refuse(key, 503);
        }
        let response = self.console_head(200).field("Content-Type", "text/event-stream");
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.keep_alive = false;
        connection.outbox.push(finish(response, false).into_bytes());
        if request.method == Method::Head {
            connection.state = State::Answer(Body::Rest);
            return;
        }
        connection.outbox.push(Bytes::from_static(b"retry: 1000\n\n"));
        connection.state = State::Answer(Body::Events);
        self.event_listeners.insert(key);
    }

    /// Tells pages that something has happened.
    pub(crate) fn announce(&mut self, event: &str) {
        self.say_to_listeners(&Bytes::from(format!("event: {event}\ndata: {{}}\n\n")));
    }

    /// Shows pages that they are still connected, and finds those that are not.
    pub(crate) fn ping_listeners(&mut self) {
        if self.now_ms >= self.next_ping_ms {
            self.next_ping_ms = self.now_ms + PING_MS;
            self.say_to_listeners(&Bytes::from_static(b": \n\n"));
        }
    }

    fn say_to_listeners(&mut self, text: &Bytes) {
        for key in self.event_listeners.clone() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            // One that has not taken the last event learns of this one with the next.
            if connection.outbox.is_empty() {
                connection.outbox.push(text.clone());
                connection.deadline_ms = self.now_ms + self.config.limits.stalled_timeout_ms;
                self.stir(key);
            }
        }
    }
}

impl Web {
    /// Whom another configuration would touch: the viewers of each vhost that would change or go, and all of them.
    pub(crate) fn preview(&self, config: &conf::Config) -> (Vec<api::Touched>, api::Touched) {
        let (mut touched, mut all): (Vec<api::Touched>, _) = (Vec::new(), api::Touched::default());
        for (_, connection) in &self.connections {
            let Some(feed) = connection.viewer().and_then(|viewer| self.feeds.get(viewer.feed)) else {
                continue;
            };
            let one = api::Touched {
                clients: 1,
                ids: vec![connection.id],
                streams: vec![format!("{}/{}", feed.key.app, feed.key.stream)],
                ..api::Touched::default()
            };
            all.merge(one.clone());
            let named = |config: &conf::Config| {
                config.vhosts.iter().find(|vhost| vhost.enabled && vhost.name == feed.key.vhost).cloned()
            };
            let effect = match named(config) {
                None => api::Effect::Closes,
                new if named(&self.config) != new => api::Effect::Changes,
                Some(_) => continue,
            };
            let what = format!("vhost {}", feed.key.vhost);
            match touched.iter_mut().find(|known| known.what == what) {
                Some(known) => known.merge(one),
                None => touched.push(api::Touched { what, effect, ..one }),
            }
        }
        (touched, all)
    }
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

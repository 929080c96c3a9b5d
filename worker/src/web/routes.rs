//! What a request means, by its words alone: nothing is looked up here but the configuration.

use conf::vhost::Vhost;
use conf::{Config, Lookup};
use http1::{Method, Request};
use media::StreamKey;

use super::console::{self, Page};
use super::mount;
use crate::outputs::live::packet_queue::Format;
use crate::outputs::vod::{What, file_of};

/// Endings of what is made of streams.
const ENDINGS: [&str; 8] = ["flv", "ts", "mp4", "aac", "mp3", "jpg", "jpeg", "m3u8"];
/// Longest time in a file that may be asked for, s.
const MAX_SECONDS: f64 = 4_000_000.0;

/// What is made of a file: its name, and what of it.
pub(crate) type Film = Option<(String, What)>;

/// What a request is for.
#[derive(Debug, PartialEq)]
pub(crate) enum Route {
    /// What may be asked for, and how.
    Options,
    /// A page of the console.
    Console(Page),
    /// A file of this name if there is one, else what this request means: the name has parameters in it, as they stand in a query.
    Parameters(Box<Request>, Film),
    /// What is found under the path.
    Path(Target),
}

/// What may be found under a path, in this order: a list or segment of HLS, a live stream, something made of a file, a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Target {
    /// A stream, in this format, if the vhost shows streams over HTTP.
    pub(crate) live: Option<(StreamKey, Format)>,
    /// What is made of the file of this name beside it.
    pub(crate) film: Film,
    /// The name is that of a list of segments, which may come with its stream.
    pub(crate) may_be_list: bool,
    /// The name is that of a picture.
    pub(crate) is_picture: bool,
    /// A page that another server had under this name, or the first page: where there is no file.
    pub(crate) former: Option<Page>,
}

/// The vhost that a request is for, by its query or its host.
pub(crate) fn vhost<'c>(request: &Request, config: &'c Config) -> Option<&'c Vhost> {
    let name = request.parameter("vhost").unwrap_or_else(|| request.host.clone());
    match config.vhost(&name) {
        Lookup::Found(vhost) => Some(vhost),
        Lookup::Disabled(_) | Lookup::NotFound => None,
    }
}

/// What a request for something of this vhost means.
pub(crate) fn route(request: &Request, vhost: Option<&Vhost>, config: &Config) -> Route {
    if request.method == Method::Options {
        return Route::Options;
    }
    let has_console = config.http_server.console;
    if let Some(page) = console::page(&request.path).filter(|_| has_console) {
        return Route::Console(page);
    }
    if let Some(plain) = without_parameters(request) {
        return Route::Parameters(Box::new(plain), film(request, config.http_server.vod));
    }
    let last = request.path.components().last().map_or("", String::as_str);
    Route::Path(Target {
        live: vhost.and_then(|vhost| live_target(vhost, request, config)),
        film: film(request, config.http_server.vod),
        may_be_list: vhost.is_some_and(|vhost| vhost.hls.enabled) && last.ends_with(".m3u8"),
        is_picture: is_picture(last),
        former: console::former_page(&request.path).filter(|_| has_console),
    })
}

/// The stream and format that a path means, if the vhost shows streams over HTTP.
fn live_target(vhost: &Vhost, request: &Request, config: &Config) -> Option<(StreamKey, Format)> {
    if !vhost.http_remux.enabled {
        return None;
    }
    let (app, stream, ending) = mount::stream_of(&vhost.http_remux.mount, request.path.components())?;
    let format = match ending.as_str() {
        "jpg" | "jpeg" if vhost.http_remux.snapshot_ffmpeg.is_some() => Format::Mp4,
        ending => Format::of_ending(ending)?,
    };
    let most = config.limits.name_bytes as usize;
    (app.len() <= most && stream.len() <= most)
        .then(|| (StreamKey { vhost: vhost.name.clone(), app, stream }, format))
}

/// Which file a request means, and what of it.
fn film(request: &Request, hls: bool) -> Film {
    let last = request.path.components().last()?;
    if let Some((name, what)) = file_of(last).filter(|_| hls) {
        let what = match (what, named_vhost(request)) {
            (What::List(_), Some(vhost)) => What::List(format!("?vhost={vhost}")),
            (what, _) => what,
        };
        return Some((name.to_owned(), what));
    }
    // A number of bytes, or of seconds when it has a decimal point.
    let start = request.parameter("start").filter(|_| last.to_ascii_lowercase().ends_with(".flv"))?;
    let what = if start.contains('.') {
        let seconds: f64 = start.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let ms = (seconds.clamp(0.0, MAX_SECONDS) * 1000.0) as u32;
        What::FromTime(ms)
    } else {
        What::FromByte(start.parse().ok().filter(|at| *at > 0)?)
    };
    Some((last.clone(), what))
}

/// The same request with the parameters in its query that its last component has: escaped, or behind a sign that ends no path,
/// ahead of the ending or behind it. `None` where it has none.
fn without_parameters(request: &Request) -> Option<Request> {
    let is_ending = |ending: &str| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending));
    let ending_of = |name: &str| {
        name.rsplit_once('.').map_or(
            name.len(),
            |(stem, ending)| {
                if is_ending(ending) { stem.len() } else { name.len() }
            },
        )
    };
    let last = request.path.components().last()?;
    let (written, ending) = last.split_at_checked(ending_of(last))?;
    let (name, params) = rtmp::url::split_name(written)?;
    let has_ending = ending_of(&name) < name.len();
    let path = request.path.with_last(&if has_ending { name } else { name + ending })?;
    let queries = [request.query.clone(), params];
    let query = queries.into_iter().filter(|query| !query.is_empty()).collect::<Vec<_>>().join("&");
    Some(Request { path, query, ..request.clone() })
}

/// Whether a name is that of a picture of a stream.
pub(crate) fn is_picture(name: &str) -> bool {
    name.ends_with(".jpg") || name.ends_with(".jpeg")
}

/// The vhost that a request names in its query, as URLs have it: what its list names has to be asked for in the same vhost.
pub(crate) fn named_vhost(request: &Request) -> Option<String> {
    request.parameter("vhost").map(|name| http1::encode(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Request {
        let head = format!("{line} HTTP/1.1\r\nHost: v\r\n\r\n");
        Request::parse(head.as_bytes()).unwrap().unwrap().0
    }

    fn routed(line: &str) -> Route {
        let text = "listen 1; http_server { enabled on; console on; vod on; } vhost v { hls { enabled on; } \
                    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }";
        let config = conf::parse_text("x", text.as_bytes(), &conf::Environment::empty()).unwrap().config;
        let request = request(line);
        route(&request, vhost(&request, &config), &config)
    }

    fn target(line: &str) -> Target {
        match routed(line) {
            Route::Path(target) => target,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn words_of_a_request_say_what_it_is_for() {
        assert_eq!(routed("OPTIONS /live/a.flv"), Route::Options);
        assert_eq!(routed("GET /console/events"), Route::Console(Page::Events));
        assert_eq!(routed("GET /console"), Route::Console(Page::Redirect("/console/")));
        let key = StreamKey { vhost: "v".to_owned(), app: "live".to_owned(), stream: "a".to_owned() };
        for (name, format) in [("a.flv", Format::Flv), ("a.ts", Format::Ts), ("a.mp4", Format::Mp4)] {
            let target = target(&format!("GET /live/{name}"));
            assert_eq!(target.live, Some((key.clone(), format)), "{name}");
            assert!(!target.may_be_list && !target.is_picture && target.film.is_none());
        }
        assert!(target("GET /live/a.m3u8").may_be_list);
        assert_eq!(target("GET /live/a.m3u8").live, None);
        // A picture is made of the newest fragment.
        let picture = target("GET /live/a.jpg");
        assert!(picture.is_picture && picture.live == Some((key.clone(), Format::Mp4)));
        assert_eq!(target("GET /a.flv.m3u8").film, Some(("a.flv".to_owned(), What::List(String::new()))));
        let list = target("GET /a.flv.m3u8?vhost=v").film;
        assert_eq!(list, Some(("a.flv".to_owned(), What::List("?vhost=v".to_owned()))));
        assert_eq!(target("GET /a.mp4.7.ts").film, Some(("a.mp4".to_owned(), What::Segment(7))));
        assert_eq!(target("GET /a.flv?start=7").film, Some(("a.flv".to_owned(), What::FromByte(7))));
        assert_eq!(target("GET /a.flv?start=7.5").film, Some(("a.flv".to_owned(), What::FromTime(7500))));
        assert_eq!(target("GET /a.flv?start=0").film, None);
        assert_eq!(target("GET /").former, Some(Page::Asset("landing.html".to_owned())));
        assert_eq!(target("GET /players/index.html").former, Some(Page::Redirect("/console/")));
        assert_eq!(target("GET /live/index.html").former, None);
    }

    #[test]
    fn parameters_in_a_name_are_those_of_a_query() {
        let Route::Parameters(plain, None) = routed("GET /live/a%3Ftoken%3Dx.flv?b=1") else {
            panic!("parameters")
        };
        assert_eq!((plain.path.text().as_str(), plain.query.as_str()), ("/live/a.flv", "b=1&token=x"));
        assert!(matches!(routed("GET /live/a.flv?token=x"), Route::Path(_)));
    }
}

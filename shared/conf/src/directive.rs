//! The table of all directives: the only place where a name, its blocks, its arguments, its default and its state of
//! completion are written down. The checker, the environment, the reference page and the tests all read it.
//!
//! A block is named by its path, such as `vhost/hls`; the top level is the empty path. `play` and `cluster` only group
//! directives that may as well stand directly in the vhost.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::feature::Feature;
use crate::value::{Kind, UNBOUNDED};

/// What may follow the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Arguments and a semicolon.
    Simple,
    /// A block with this path.
    Block(&'static str),
    /// Arguments, or a block with this path, or both.
    Either(&'static str),
    /// A block of free names and texts, handed on as they are.
    Free,
    /// Anything; it is not looked into.
    Opaque,
}

/// What more than one of it in a block means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The first counts, the others get a warning.
    First,
    /// All count.
    All,
    /// All count whose first arguments differ.
    ByName,
}

/// When a change of it works after a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At once.
    Live,
    /// For connections and streams that begin afterwards.
    New,
    /// Not before the server is started again.
    Restart,
}

/// Whether it does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what it says.
    Works,
    /// It is understood and kept; the feature is to come.
    NotBuilt(Feature),
    /// It is understood; there is nothing it could change in this server.
    NoEffect,
    /// It is skipped; the feature is not planned.
    Unplanned(Feature),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// Other spellings.
    pub aliases: &'static [&'static str],
    /// Paths of the blocks it may stand in.
    pub within: &'static [&'static str],
    /// What follows.
    pub body: Body,
    /// Fewest arguments.
    pub min_args: usize,
    /// Most arguments.
    pub max_args: usize,
    /// What each argument is.
    pub kind: Kind,
    /// What holds when it is absent; empty when nothing does.
    pub default: &'static str,
    /// More than one.
    pub repeat: Repeat,
    /// After a reload.
    pub reload: Reload,
    /// Its own state; see [`Directive::status`] for the one that counts.
    own_status: Status,
    /// One line for the reference page.
    pub about: &'static str,
}

/// As many arguments as the grammar lets through.
pub const MANY: usize = crate::tree::MAX_ARGUMENTS;

type Within = &'static [&'static str];

impl Directive {
    const fn new(
        within: Within,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            within,
            body: Body::Simple,
            min_args: 1,
            max_args: 1,
            kind,
            default,
            repeat: Repeat::First,
            reload: Reload::Live,
            own_status: Status::Works,
            about,
        }
    }

    const fn block(within: Within, name: &'static str, path: &'static str, about: &'static str) -> Self {
        Self::new(within, name, Kind::Text, "", about).args(0, 0).body(Body::Block(path))
    }

    const fn opaque(within: Within, name: &'static str, feature: Feature, about: &'static str) -> Self {
        Self::new(within, name, Kind::Text, "", about)
            .args(0, MANY)
            .body(Body::Opaque)
            .not_built(feature)
            .repeat(Repeat::All)
    }

    const fn free(within: Within, name: &'static str, about: &'static str) -> Self {
        Self::new(within, name, Kind::Text, "", about).args(0, 0).body(Body::Free)
    }

    const fn args(mut self, min: usize, max: usize) -> Self {
        self.min_args = min;
        self.max_args = max;
        self
    }

    const fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    const fn on_new(mut self) -> Self {
        self.reload = Reload::New;
        self
    }

    const fn on_restart(mut self) -> Self {
        self.reload = Reload::Restart;
        self
    }

    const fn not_built(mut self, feature: Feature) -> Self {
        self.own_status = Status::NotBuilt(feature);
        self
    }

    const fn unplanned(mut self, feature: Feature) -> Self {
        self.own_status = Status::Unplanned(feature);
        self
    }

    const fn no_effect(mut self) -> Self {
        self.own_status = Status::NoEffect;
        self
    }

    /// Its state: that of the block around it, unless the block works.
    #[must_use]
    pub fn status(&self) -> Status {
        let around = self.within.first().and_then(|path| block_of(path)).map(Self::status);
        match around {
            Some(status) if status != Status::Works => status,
            _ => self.own_status,
        }
    }

    /// Path of the block it opens.
    #[must_use]
    pub const fn opens(&self) -> Option<&'static str> {
        match self.body {
            Body::Block(path) | Body::Either(path) => Some(path),
            Body::Simple | Body::Free | Body::Opaque => None,
        }
    }

    /// Its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The directive that opens the block of this path; `None` for the top level.
#[must_use]
pub fn block_of(path: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|row| !path.is_empty() && row.opens() == Some(path))
}

/// Finds a directive by the path of its block and any of its names.
#[must_use]
pub fn find(path: &str, name: &str) -> Option<&'static Directive> {
    INDEX.get(&(path, name)).copied()
}

/// Every directive that may stand in the block of this path.
pub fn in_block(path: &str) -> impl Iterator<Item = &'static Directive> {
    DIRECTIVES.iter().filter(move |row| row.within.contains(&path))
}

static INDEX: LazyLock<HashMap<(&'static str, &'static str), &'static Directive>> = LazyLock::new(|| {
    let places = |row: &'static Directive| {
        row.within.iter().flat_map(|path| row.names().map(move |name| (*path, name)))
    };
    DIRECTIVES.iter().flat_map(|row| places(row).map(move |key| (key, row))).collect()
});

const fn number(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Number { min, max, scale: 1, unit }
}

const FLAG: Kind = Kind::Flag;
const PATH: Kind = Kind::Path;
const TEXT: Kind = Kind::Text;
const URL: Kind = Kind::Url;
const LISTEN: Kind = Kind::Listen;
const SERVER: Kind = Kind::Endpoint;
const JITTER: Kind = Kind::Choice(&["full", "zero", "off"]);
/// Kept in milliseconds.
const SECONDS: Kind = Kind::Number { min: 1, max: UNBOUNDED, scale: 1000, unit: "seconds" };
const SECONDS_OR_0: Kind = Kind::Number { min: 0, max: UNBOUNDED, scale: 1000, unit: "seconds" };
const MILLIS: Kind = number(1, UNBOUNDED, "milliseconds");
const MILLIS_OR_0: Kind = number(0, UNBOUNDED, "milliseconds");
/// Kept in microseconds.
const FINE_MILLIS: Kind = Kind::Number { min: 0, max: UNBOUNDED, scale: 1000, unit: "milliseconds" };
const U32: u64 = 0xffff_ffff;
const COUNT: Kind = number(1, U32, "");
const COUNT_OR_0: Kind = number(0, U32, "");
const CHUNK: Kind = number(128, 65_536, "bytes");
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const TOP: Within = &[""];
const VHOST: Within = &["vhost"];
const PLAY: Within = &["vhost", "vhost/play"];
const CLUSTER: Within = &["vhost", "vhost/cluster"];
const PUBLISH: Within = &["vhost/publish"];
const API: Within = &["http_api"];
const SERVERS: Within = &["http_server"];
const API_TLS: Within = &["http_api/https"];
const TLS: Within = &["http_server/https"];
const RING: Within = &["ring"];
const LIMITS: Within = &["limits"];
const PITHY: Within = &["pithy_print"];
const HLS: Within = &["vhost/hls"];
const DVR: Within = &["vhost/dvr"];
const DASH: Within = &["vhost/dash"];
const HDS: Within = &["vhost/hds"];
const HOOKS: Within = &["vhost/http_hooks"];
const REMUX: Within = &["vhost/http_remux"];
const STATIC: Within = &["vhost/http_static"];
const INGEST: Within = &["vhost/ingest"];
const INPUT: Within = &["vhost/ingest/input"];
const TRANSCODE: Within = &["vhost/transcode"];
const ENGINE: Within = &["vhost/engine"];
const BEAT: Within = &["heartbeat"];
const BREAKER: Within = &["circuit_breaker"];

const ENABLED: &str = "Switches the block on.";
const HTML: &str = "./objs/nginx/html";

type D = Directive;

/// All directives, in the order of the reference page.
#[rustfmt::skip]
pub static DIRECTIVES: &[Directive] = &[
    // The server.
    D::new(TOP, "listen", LISTEN, "", "RTMP listeners. A bare port means all IPv4 addresses; at least one is needed.").args(1, MANY).repeat(Repeat::All),
    D::block(TOP, "rtmp", "rtmp", "The listeners in the spelling of later versions."),
    D::new(&["rtmp"], "enabled", FLAG, "on", "Kept for files that have it; RTMP is always on.").no_effect(),
    D::new(&["rtmp"], "listen", LISTEN, "", "RTMP listeners, as at the top level.").args(1, MANY).repeat(Repeat::All),
    D::new(&["rtmp"], "chunk_size", CHUNK, "60000", "As chunk_size at the top level.").on_new(),
    D::new(TOP, "pid", PATH, "./objs/srs.pid", "Pid file; it is locked, so a second server with the same file refuses to start."),
    D::new(TOP, "daemon", FLAG, "on", "Goes to the background at start.").on_restart(),
    D::new(TOP, "max_connections", number(1, 1_000_000, "connections"), "1000", "Connections in all that have said what they want; further ones are told that the server is full."),
    D::new(TOP, "chunk_size", CHUNK, "60000", "Size of outgoing RTMP chunks in bytes, for vhosts without their own.").on_new(),
    D::new(TOP, "work_dir", PATH, "./", "Directory to change to at start; relative paths begin there.").on_restart(),
    D::new(TOP, "include", PATH, "", "Reads other files as if they stood here, in any block. A relative path is looked for beside this file, then in the working directory.").args(1, MANY).repeat(Repeat::All),
    D::new(TOP, "unsafe_ignore", Kind::Choice(crate::notice::RESTRICTING), "", "Directives that keep somebody out, which this version does not enforce yet: a file that has one is refused unless its name stands here.").args(1, MANY).repeat(Repeat::All),
    D::new(TOP, "workers", Kind::ChoiceOr(&["auto"], 1, 256), "auto", "Stream processes; auto means one per processor core."),
    D::new(TOP, "backsources", number(1, 64, "processes"), "1", "Processes that receive published streams.").on_restart(),
    D::new(TOP, "http_workers", number(1, 64, "processes"), "1", "Processes that serve HTTP; each stream's HLS and recording belong to one of them.").on_restart(),
    D::new(TOP, "process_mode", Kind::Choice(&["multi", "single"]), "multi", "Whether the roles run as processes or as threads of a single one.").on_restart(),
    D::new(TOP, "runtime_dir", PATH, "", "Directory of control sockets and state files. Unless given: the directory of the pid file where that is called srs.pid, else one beside it with its name (`objs/srs.edge` for `objs/srs.edge.pid`). Two servers can't share one.").on_restart(),
    D::new(TOP, "private_api_port", number(0, 65_000, ""), "0", "First port of the private API of each process on the loopback address; 0 lets the kernel choose.").on_restart(),
    D::new(TOP, "grace_timeout", SECONDS, "30", "Longest wait for publishers to end on a graceful quit, in seconds."),
    D::new(TOP, "grace_start_wait", MILLIS_OR_0, "2300", "Wait before the listeners close on a graceful quit, in milliseconds."),
    D::new(TOP, "grace_final_wait", MILLIS_OR_0, "3200", "Wait after the last publisher on a graceful quit, in milliseconds."),
    D::new(TOP, "force_grace_quit", FLAG, "off", "Makes the terminate signal a graceful quit."),
    D::new(TOP, "watchdog", SECONDS_OR_0, "3", "A process that shows no sign of life for so many seconds is ended and started again; 0 waits for ever."),
    D::new(TOP, "asprocess", FLAG, "off", "Quits when the parent process dies.").not_built(Feature::AsProcess),
    D::new(TOP, "inotify_auto_reload", FLAG, "off", "Reloads when the file changes on disk.").not_built(Feature::InotifyReload),
    D::new(TOP, "empty_ip_ok", FLAG, "on", "Kept for files that have it; the address of a client is always known here.").no_effect(),
    D::new(TOP, "server_id", TEXT, "", "Identity of this server in statistics.").on_restart(),
    D::new(TOP, "in_docker", FLAG, "off", "Kept for files that have it.").no_effect(),
    D::new(TOP, "disable_daemon_for_docker", FLAG, "on", "Kept for files that have it.").no_effect(),
    D::new(TOP, "auto_reload_for_docker", FLAG, "on", "Kept for files that have it.").no_effect(),
    D::new(TOP, "tcmalloc_release_rate", Kind::Text, "0.8", "Kept for files that have it.").no_effect(),
    D::new(TOP, "query_latest_version", FLAG, "on", "Kept for files that have it; this server never asks.").no_effect(),
    D::new(TOP, "first_wait_for_qlv", SECONDS_OR_0, "300", "Kept for files that have it.").no_effect(),
    D::new(TOP, "is_full", FLAG, "off", "Kept for files that have it.").no_effect(),
    D::block(TOP, "threads", "threads", "Kept for files that have it.").no_effect(),
    D::new(&["threads"], "interval", SECONDS, "5", "Kept for files that have it."),
    // Logs.
    D::new(TOP, "srs_log_tank", Kind::Choice(&["file", "console"]), "file", "Where log lines go."),
    D::new(TOP, "srs_log_level", Kind::Choice(&["verbose", "info", "trace", "warn", "error"]), "trace", "Lowest level that is logged."),
    D::new(TOP, "srs_log_level_v2", Kind::Choice(&["verbose", "debug", "info", "trace", "warn", "error"]), "", "The same in the words of later versions: trace, debug, info, warn, error from the finest to the coarsest. It goes before srs_log_level."),
    D::new(TOP, "srs_log_file", PATH, "./objs/srs.log", "Log file, appended to; used when the tank is file."),
    D::new(TOP, "utc_time", FLAG, "off", "Logs in UTC instead of local time.").not_built(Feature::UtcTime),
    D::new(TOP, "ff_log_dir", PATH, "./objs", "Directory of the log files of ffmpeg; /dev/null discards them.").on_new(),
    D::new(TOP, "ff_log_level", TEXT, "info", "Log level handed to ffmpeg.").on_new(),
    D::new(TOP, "pithy_print_ms", MILLIS, "10000", "Period of all status lines in the log, in milliseconds."),
    D::block(TOP, "pithy_print", "pithy_print", "Periods of the status lines in the log, for each kind: within a period one of its connections writes one line, each in its turn."),
    D::new(PITHY, "publish", MILLIS, "10000", "Of publishers, in milliseconds."),
    D::new(PITHY, "play", MILLIS, "10000", "Of viewers, in milliseconds."),
    D::new(PITHY, "forwarder", MILLIS, "10000", "Of forwarders, in milliseconds.").not_built(Feature::PithyPrint),
    D::new(PITHY, "encoder", MILLIS, "10000", "Of transcoders, in milliseconds.").not_built(Feature::PithyPrint),
    D::new(PITHY, "ingester", MILLIS, "10000", "Of ingesters, in milliseconds.").on_new(),
    D::new(PITHY, "hls", MILLIS, "10000", "Of HLS writers, in milliseconds."),
    D::new(PITHY, "edge", MILLIS, "10000", "Of edges, in milliseconds.").not_built(Feature::PithyPrint),
    // Memory and defences.
    D::block(TOP, "ring", "ring", "Memory of the rings that carry streams between processes."),
    D::new(RING, "initial", Kind::Size { min: 64 * KIB, max: 64 * GIB }, "128k", "Ring of a new stream.").on_new(),
    D::new(RING, "max", Kind::Size { min: 64 * KIB, max: 64 * GIB }, "64m", "Largest ring of one stream.").on_new(),
    D::new(RING, "total", Kind::Size { min: 64 * KIB, max: 1024 * GIB }, "2g", "All rings together.").on_new(),
    D::block(TOP, "limits", "limits", "What a peer may ask for before its connection is closed."),
    D::new(LIMITS, "max_message", Kind::Size { min: KIB, max: 16 * MIB - 1 }, "4m", "Largest audio or video message.").on_new(),
    D::new(LIMITS, "max_command_message", Kind::Size { min: KIB, max: 16 * MIB - 1 }, "64k", "Largest command message.").on_new(),
    D::new(LIMITS, "max_data_message", Kind::Size { min: KIB, max: 16 * MIB - 1 }, "1m", "Largest data message, such as metadata with an index of key frames. A longer one is left out, the publisher stays.").on_new(),
    D::new(LIMITS, "chunk_size_min", number(1, 65_536, "bytes"), "1", "Smallest chunk size a peer may set.").on_new(),
    D::new(LIMITS, "chunk_size_max", number(128, 2_147_483_647, "bytes"), "2147483647", "Largest chunk size a peer may set. A chunk is never longer than its message, so a large one costs nothing.").on_new(),
    D::new(LIMITS, "clamp_chunk_size", FLAG, "off", "Takes a larger chunk size as it is instead of closing.").on_new(),
    D::new(LIMITS, "max_csids", number(4, 65_598, "chunk streams"), "64", "Chunk streams with remembered headers, for one connection.").on_new(),
    D::new(LIMITS, "max_messages_in_flight", number(2, 65_598, "messages"), "8", "Messages being put together at once, for one connection.").on_new(),
    D::new(LIMITS, "max_reassembly", Kind::Size { min: 64 * KIB, max: GIB }, "8m", "Bytes being put together at once, for one connection.").on_new(),
    D::new(LIMITS, "max_reassembly_total", Kind::Size { min: MIB, max: 64 * GIB }, "512m", "Bytes being put together at once, for one process.").on_new(),
    D::new(LIMITS, "amf_depth", number(1, 64, "levels"), "16", "Nesting of AMF objects and arrays.").on_new(),
    D::new(LIMITS, "amf_nodes", number(8, 1_000_000, "values"), "512", "AMF values in one command.").on_new(),
    D::new(LIMITS, "amf_keys", number(8, 1_000_000, "keys"), "256", "Keys of one AMF object.").on_new(),
    D::new(LIMITS, "amf_string", Kind::Size { min: 64, max: 16 * MIB }, "16k", "Longest AMF string of a command, such as a stream name with a token in its query.").on_new(),
    D::new(LIMITS, "amf_total", Kind::Size { min: KIB, max: 16 * MIB }, "256k", "AMF bytes decoded from one command.").on_new(),
    D::new(LIMITS, "handshake_timeout_ms", MILLIS, "5000", "Time from accept to the end of the handshake, in milliseconds.").on_new(),
    D::new(LIMITS, "identify_timeout_ms", MILLIS, "10000", "Time from the handshake to publish or play, in milliseconds.").on_new(),
    D::new(LIMITS, "stalled_timeout_ms", MILLIS, "15000", "A viewer that takes nothing for so long is closed, in milliseconds.").on_new(),
    D::new(LIMITS, "min_drain_rate", COUNT_OR_0, "0", "Slowest rate at which a viewer with a full queue must drain, in bytes per second; 0 does not ask.").on_new(),
    D::new(LIMITS, "turn_messages", number(1, 1_000_000, "messages"), "256", "Messages taken from a connection before the next has its turn.").on_new(),
    D::new(LIMITS, "turn_bytes", Kind::Size { min: KIB, max: GIB }, "256k", "Bytes taken from a connection before the next has its turn.").on_new(),
    D::new(LIMITS, "turn_accepts", number(1, 65_536, "connections"), "64", "Connections accepted before anything else is served.").on_new(),
    D::new(LIMITS, "message_streams", number(1, 65_536, "streams"), "16", "Message streams of one connection.").on_new(),
    D::new(LIMITS, "name_bytes", number(16, 4_096, "bytes"), "255", "Longest name of a vhost, application or stream.").on_new(),
    D::new(LIMITS, "queue_bytes", Kind::Size { min: 64 * KIB, max: 16 * GIB }, "32m", "Bytes waiting for one viewer before frames are dropped."),
    D::new(LIMITS, "hls_memory", Kind::Size { min: MIB, max: 1024 * GIB }, "4g", "Segments of HLS in the memory of one http process; beyond it the stream with most loses its oldest."),
    D::new(LIMITS, "pending_pings", number(1, 1_024, "pings"), "8", "Ping answers waiting for one peer.").on_new(),
    D::new(LIMITS, "ack_window_min", Kind::Size { min: KIB, max: GIB }, "64k", "Smaller acknowledgement windows of peers are raised to this.").on_new(),
    D::new(LIMITS, "ack_window_max", Kind::Size { min: KIB, max: 2 * GIB }, "16m", "Larger acknowledgement windows of peers are lowered to this.").on_new(),
    D::new(LIMITS, "unestablished_per_ip", number(1, 1_000_000, "connections"), "5000", "Connections of one address that have not said publish or play, in each process; never more than half of `max_connections` (at least 64).").on_new(),
    D::new(LIMITS, "unestablished_total", number(1, 1_000_000, "connections"), "10000", "Connections that have not said publish or play, in each process, beside those that `max_connections` counts; never more than half of `max_connections` (at least 64). When they are used up the oldest is ended, of the address that has most.").on_new(),
    // HTTP and reports.
    D::block(TOP, "http_api", "http_api", "Management API."),
    D::new(API, "enabled", FLAG, "off", ENABLED),
    D::new(API, "listen", LISTEN, "1985", "Where to listen; a bare port means all IPv4 addresses."),
    D::new(API, "crossdomain", FLAG, "off", "Lets pages of other origins read the answers."),
    D::new(API, "reads", Kind::Choice(&["loopback", "all", "token"]), "loopback", "Who may read without token or password: programs on this host that ask for themselves (no proxies that say so, or speak HTTP/1.0 to the web server), everybody, or nobody. With auth on, nobody. Behind a proxy on this host that can't be told from a program, choose token."),
    D::new(API, "hosts", TEXT, "", "Host names under which the API may be asked, beside addresses, localhost and this machine's own name: a page that makes a browser ask under another name gets nothing.").args(1, MANY),
    D::new(API, "jsonp", FLAG, "off", "Answers as a script when the query has a callback."),
    D::new(API, "nginx_rtmp", FLAG, "off", "Answers /stat, /stat.json and /control/drop as nginx-rtmp does."),
    D::new(API, "ids", Kind::Choice(&["numbers", "strings"]), "numbers", "Ids of streams and clients: numbers, as versions 1 to 3 have them, or strings, as later ones do."),
    D::new(API, "nginx_control", Kind::Choice(&["token", "loopback"]), "token", "Who may use /control: who has the token, or programs on this host, too (no browsers, and no proxies that say so)."),
    D::block(API, "raw_api", "http_api/raw_api", "Requests that change the server. They need the token, too."),
    D::new(&["http_api/raw_api"], "enabled", FLAG, "off", ENABLED),
    D::new(&["http_api/raw_api"], "allow_reload", FLAG, "off", "Allows a reload over HTTP."),
    D::new(&["http_api/raw_api"], "allow_query", FLAG, "off", "Kept for files that have it.").no_effect(),
    D::new(&["http_api/raw_api"], "allow_update", FLAG, "off", "Kept for files that have it.").no_effect(),
    D::block(API, "auth", "http_api/auth", "User name and password for the API, for everybody who reads."),
    D::new(&["http_api/auth"], "enabled", FLAG, "off", ENABLED),
    D::new(&["http_api/auth"], "username", TEXT, "", "User name."),
    D::new(&["http_api/auth"], "password", TEXT, "", "Password."),
    D::block(API, "https", "http_api/https", "The API over TLS.").not_built(Feature::Https),
    D::new(API_TLS, "enabled", FLAG, "off", ENABLED).not_built(Feature::Https),
    D::new(API_TLS, "listen", LISTEN, "", "Where to listen, 1990 unless given.").not_built(Feature::Https),
    D::new(API_TLS, "key", PATH, "./conf/server.key", "PEM file of the private key.").not_built(Feature::Https),
    D::new(API_TLS, "cert", PATH, "./conf/server.crt", "PEM file of the certificate chain.").not_built(Feature::Https),
    D::block(TOP, "http_server", "http_server", "Web server for files and live streams.").alias(&["http_stream"]),
    D::new(SERVERS, "enabled", FLAG, "off", ENABLED),
    D::new(SERVERS, "listen", LISTEN, "8080", "Where to listen; a bare port means all IPv4 addresses."),
    D::new(SERVERS, "dir", PATH, HTML, "Root directory."),
    D::new(SERVERS, "crossdomain", FLAG, "on", "Lets pages of other origins read the answers."),
    D::new(SERVERS, "console", FLAG, "on", "Serves the pages of the server itself: below /console/, and at / where there is no file."),
    D::new(SERVERS, "stream_wait", SECONDS_OR_0, "5", "How long a request for a stream that nobody publishes yet waits, in seconds."),
    D::new(SERVERS, "vod", FLAG, "off", "Offers FLV and MP4 files as HLS: the list of a.mp4 is a.mp4.m3u8."),
    D::block(SERVERS, "https", "http_server/https", "The same over TLS."),
    D::new(TLS, "enabled", FLAG, "off", ENABLED),
    D::new(TLS, "listen", LISTEN, "", "Where to listen, 8088 unless given."),
    D::new(TLS, "key", PATH, "./conf/server.key", "PEM file of the private key."),
    D::new(TLS, "cert", PATH, "./conf/server.crt", "PEM file of the certificate chain. A renewed one is in force within seconds."),
    D::block(TOP, "exporter", "exporter", "Metrics for Prometheus at /metrics."),
    D::new(&["exporter"], "enabled", FLAG, "off", ENABLED),
    D::new(&["exporter"], "listen", LISTEN, "9972", "Where to listen; a bare port means all IPv4 addresses."),
    D::new(&["exporter"], "top_streams", number(0, 10_000, "streams"), "20", "Streams that have series of their own: those that most is sent of."),
    D::new(&["exporter"], "label", TEXT, "", "Value of the label `label` of every metric."),
    D::new(&["exporter"], "tag", TEXT, "", "Value of the label `tag` of every metric."),
    D::block(TOP, "heartbeat", "heartbeat", "Periodic report to another server.").not_built(Feature::Heartbeat),
    D::new(BEAT, "enabled", FLAG, "off", ENABLED),
    D::new(BEAT, "interval", SECONDS, "9.9", "Time between two reports, in seconds."),
    D::new(BEAT, "url", URL, "http://127.0.0.1:8085/api/v1/servers", "Where to post."),
    D::new(BEAT, "device_id", TEXT, "", "Identity of this device."),
    D::new(BEAT, "summaries", FLAG, "off", "Adds the summary of the statistics."),
    D::new(BEAT, "ports", FLAG, "off", "Adds the listening ports. A block `ports { enabled on; }` says the same.").body(Body::Either("heartbeat/ports")).args(0, 1),
    D::new(&["heartbeat/ports"], "enabled", FLAG, "off", ENABLED),
    D::block(TOP, "stats", "stats", "What the statistics call the address and the disks of the machine.").not_built(Feature::Stats),
    D::new(&["stats"], "enabled", FLAG, "on", ENABLED),
    D::new(&["stats"], "network", number(0, 1_000, ""), "0", "Index into the list of local IPv4 addresses."),
    D::new(&["stats"], "disk", TEXT, "", "Block devices to count.").args(1, MANY),
    D::block(TOP, "circuit_breaker", "circuit_breaker", "Sheds load when the processor is busy.").not_built(Feature::CircuitBreaker),
    D::new(BREAKER, "enabled", FLAG, "off", ENABLED),
    D::new(BREAKER, "high_threshold", number(0, 100, "percent"), "90", "Busy from here, in percent."),
    D::new(BREAKER, "high_pulse", COUNT_OR_0, "2", "After so many seconds."),
    D::new(BREAKER, "critical_threshold", number(0, 100, "percent"), "95", "Very busy from here, in percent."),
    D::new(BREAKER, "critical_pulse", COUNT_OR_0, "1", "After so many seconds."),
    D::new(BREAKER, "dying_threshold", number(0, 100, "percent"), "99", "Close to failure from here, in percent."),
    D::new(BREAKER, "dying_pulse", COUNT_OR_0, "5", "After so many seconds."),
    D::opaque(TOP, "rtmps", Feature::Rtmps, "RTMP over TLS."),
    D::opaque(TOP, "srt_server", Feature::Srt, "SRT listener."),
    D::opaque(TOP, "rtc_server", Feature::Rtc, "WebRTC listener."),
    D::opaque(TOP, "stream_caster", Feature::StreamCaster, "Input of other protocols.").unplanned(Feature::StreamCaster),
    D::opaque(TOP, "tencentcloud_cls", Feature::TencentCloud, "Log service of a cloud.").unplanned(Feature::TencentCloud),
    D::opaque(TOP, "tencentcloud_apm", Feature::TencentCloud, "Trace service of a cloud.").unplanned(Feature::TencentCloud),
    // Virtual hosts.
    D::new(TOP, "vhost", TEXT, "", "A virtual host. `__defaultVhost__` serves every name without a block of its own.").body(Body::Block("vhost")).args(1, 1).repeat(Repeat::ByName),
    D::new(VHOST, "enabled", FLAG, "on", "Off refuses every client."),
    D::new(VHOST, "chunk_size", CHUNK, "60000", "Size of outgoing RTMP chunks in bytes; the one of the top level unless given.").on_new(),
    D::new(VHOST, "publish_takeover", Kind::Choice(&["same", "on", "off"]), "same", "Whether a second publisher of a stream replaces the first instead of being refused: when the same client comes again (same address and parameters, the connection before silent for two seconds), always, or never."),
    D::new(VHOST, "in_ack_size", COUNT_OR_0, "0", "What clients send is acknowledged each time that so many bytes came, for those that have not said what they want; 0 waits until they say.").on_new(),
    D::new(VHOST, "out_ack_size", COUNT_OR_0, "2500000", "Acknowledgement window asked of clients, in bytes; 0 does not ask.").on_new(),
    D::new(VHOST, "min_latency", FLAG, "off", "Sends at once rather than efficiently."),
    D::new(VHOST, "tcp_nodelay", FLAG, "", "Sets TCP_NODELAY for viewers; the server decides unless given.").on_new(),
    D::new(VHOST, "send_buffer", number(0, 1 << 30, "bytes"), "0", "Size of the kernel's send buffer of a viewer's socket, in bytes; 0 leaves it to the kernel, which adapts it.").on_new(),
    D::new(VHOST, "tcp_notsent_lowat", number(0, 1 << 30, "bytes"), "131072", "Bytes not yet sent at which a viewer's socket takes no more (TCP_NOTSENT_LOWAT): what a slow viewer can't take stays in the ring, where it costs nothing; 0 leaves it to the kernel.").on_new(),
    D::block(VHOST, "play", "vhost/play", "Groups what concerns viewers; the same directives may stand directly in the vhost."),
    D::new(PLAY, "gop_cache", FLAG, "on", "Keeps the last group of pictures, so that a new viewer sees a picture at once."),
    D::new(PLAY, "gop_cache_max_frames", COUNT_OR_0, "2500", "Frames in that cache before it is given up; 0 sets no bound."),
    D::new(PLAY, "queue_length", SECONDS, "30", "Longest queue of one viewer, in seconds; beyond it frames are dropped. A viewer that takes nothing at all is closed after limits { stalled_timeout_ms }."),
    D::new(PLAY, "time_jitter", JITTER, "full", "Repair of timestamps: full, start at zero only, or off."),
    D::new(PLAY, "atc", FLAG, "off", "Absolute time: keeps the timestamps of the publisher."),
    D::new(PLAY, "atc_auto", FLAG, "on", "Switches atc on when the metadata asks for it."),
    D::new(PLAY, "mix_correct", FLAG, "off", "Brings audio and video into the order of their times.").not_built(Feature::MixCorrect),
    D::new(PLAY, "mw_latency", Kind::ChoiceOr(&["auto"], 0, 60_000), "auto", "How long messages may wait to be written together, in milliseconds."),
    D::new(PLAY, "mw_msgs", COUNT_OR_0, "", "Messages that wait before a write. This server writes what there is.").no_effect(),
    D::new(PLAY, "idle_timeout", SECONDS_OR_0, "0", "Ends viewers of a stream that nobody publishes after so many seconds; 0 lets them wait.").on_new(),
    D::new(PLAY, "send_min_interval", FINE_MILLIS, "0", "Least time between two messages, in milliseconds. This server has no such brake.").no_effect(),
    D::new(PLAY, "reduce_sequence_header", FLAG, "off", "Leaves out repeated sequence headers.").no_effect(),
    D::block(VHOST, "publish", "vhost/publish", "Rules for publishers."),
    D::new(PUBLISH, "firstpkt_timeout", MILLIS, "20000", "The first packet must come within, in milliseconds.").on_new(),
    D::new(PUBLISH, "normal_timeout", MILLIS, "30000", "Every further packet must come within, in milliseconds.").on_new(),
    D::new(PUBLISH, "kickoff_for_idle", SECONDS_OR_0, "0", "Disconnects a publisher without viewers after so many seconds; 0 never does.").on_new(),
    D::new(PUBLISH, "mr", FLAG, "off", "Merged reads. This server reads what there is.").no_effect(),
    D::new(PUBLISH, "mr_latency", MILLIS_OR_0, "350", "For merged reads, in milliseconds.").no_effect(),
    D::new(PUBLISH, "parse_sps", FLAG, "on", "Reads the picture size from the sequence header.").no_effect(),
    D::new(PUBLISH, "try_annexb_first", FLAG, "on", "Looks for Annex B before AVCC.").no_effect(),
    D::new(VHOST, "publish_1stpkt_timeout", MILLIS, "20000", "Older spelling of firstpkt_timeout.").on_new(),
    D::new(VHOST, "publish_normal_timeout", MILLIS, "30000", "Older spelling of normal_timeout.").on_new(),
    D::block(VHOST, "mr", "vhost/mr", "Older spelling of mr and mr_latency.").no_effect(),
    D::new(&["vhost/mr"], "enabled", FLAG, "off", ENABLED),
    D::new(&["vhost/mr"], "latency", MILLIS_OR_0, "350", "In milliseconds."),
    D::new(VHOST, "refer", TEXT, "", "Domains of the pages that may embed the streams; none allows all. Checked at connect.").body(Body::Either("vhost/refer")).args(0, MANY),
    D::new(VHOST, "refer_play", TEXT, "", "As refer, checked for viewers only.").args(1, MANY),
    D::new(VHOST, "refer_publish", TEXT, "", "As refer, checked for publishers only.").args(1, MANY),
    D::new(&["vhost/refer"], "enabled", FLAG, "off", ENABLED),
    D::new(&["vhost/refer"], "all", TEXT, "", "Domains for all clients.").args(1, MANY),
    D::new(&["vhost/refer"], "play", TEXT, "", "Domains for viewers.").args(1, MANY),
    D::new(&["vhost/refer"], "publish", TEXT, "", "Domains for publishers.").args(1, MANY),
    // Other servers.
    D::block(VHOST, "cluster", "vhost/cluster", "Groups what concerns origin and edge; the same directives may stand directly in the vhost."),
    D::new(CLUSTER, "mode", Kind::Choice(&["local", "remote"]), "local", "remote makes an edge: streams are fetched from an origin when somebody asks.").on_restart().not_built(Feature::Edge),
    D::new(CLUSTER, "origin", SERVER, "", "Origins of an edge, in order.").args(1, MANY).not_built(Feature::Edge),
    D::new(CLUSTER, "token_traverse", FLAG, "off", "Asks the origin to authorise every client.").not_built(Feature::Edge),
    D::new(CLUSTER, "vhost", TEXT, "", "Vhost to ask the origin for; the one of the client unless given.").not_built(Feature::Edge),
    D::new(CLUSTER, "debug_srs_upnode", FLAG, "on", "Tells upstream servers who we are.").not_built(Feature::Edge),
    D::new(CLUSTER, "origin_cluster", FLAG, "off", "Origins that know each other.").not_built(Feature::Edge),
    D::new(CLUSTER, "coworkers", TEXT, "", "API addresses of the other origins.").args(1, MANY).not_built(Feature::Edge),
    D::new(CLUSTER, "protocol", Kind::Choice(&["rtmp", "flv"]), "rtmp", "How an edge fetches.").not_built(Feature::Edge),
    D::new(CLUSTER, "follow_client", FLAG, "off", "Fetches with the protocol of the first client.").not_built(Feature::Edge),
    D::new(VHOST, "forward", SERVER, "", "Servers that get every published stream; a list, or a block.").body(Body::Either("vhost/forward")).args(0, MANY).not_built(Feature::Forward),
    D::new(&["vhost/forward"], "enabled", FLAG, "off", ENABLED),
    D::new(&["vhost/forward"], "destination", SERVER, "", "Servers to push to.").args(1, MANY),
    D::new(&["vhost/forward"], "backend", URL, "", "URL that is asked where to push."),
    D::new(&["vhost/forward"], "vhost", TEXT, "", "Kept for files that have it."),
    D::new(&["vhost/forward"], "refer", TEXT, "", "Kept for files that have it."),
    // Access, hooks, commands.
    D::block(VHOST, "security", "vhost/security", "Access rules by address, in order.").not_built(Feature::Security),
    D::new(&["vhost/security"], "enabled", FLAG, "off", ENABLED),
    D::new(&["vhost/security"], "allow", TEXT, "", "Lets in: `publish` or `play`, then an address, a network such as 10.0.0.0/8, or `all`.").args(2, 2).repeat(Repeat::All),
    D::new(&["vhost/security"], "deny", TEXT, "", "Keeps out: the same words.").args(2, 2).repeat(Repeat::All),
    D::block(VHOST, "http_hooks", "vhost/http_hooks", "URLs that are called when something happens.").not_built(Feature::HttpHooks),
    D::new(HOOKS, "enabled", FLAG, "off", ENABLED),
    D::new(HOOKS, "on_connect", URL, "", "A client connects; the answer may refuse it.").args(1, MANY),
    D::new(HOOKS, "on_close", URL, "", "A client has gone.").args(1, MANY),
    D::new(HOOKS, "on_publish", URL, "", "A client wants to publish; the answer may refuse it.").args(1, MANY),
    D::new(HOOKS, "on_unpublish", URL, "", "A publish has ended.").args(1, MANY),
    D::new(HOOKS, "on_play", URL, "", "A client wants to play; the answer may refuse it.").args(1, MANY),
    D::new(HOOKS, "on_stop", URL, "", "A play has ended.").args(1, MANY),
    D::new(HOOKS, "on_dvr", URL, "", "A recording is finished.").args(1, MANY).alias(&["on_dvr_reap_flv"]),
    D::new(HOOKS, "on_hls", URL, "", "An HLS segment is finished.").args(1, MANY),
    D::new(HOOKS, "on_hls_notify", URL, "", "An HLS segment is announced to a cache.").args(1, MANY),
    D::block(VHOST, "exec", "vhost/exec", "Programs run for each publisher.").not_built(Feature::Exec),
    D::new(&["vhost/exec"], "enabled", FLAG, "off", ENABLED),
    D::new(&["vhost/exec"], "publish", TEXT, "", "A program and its arguments, each with variables such as [vhost], [app], [stream], [url].").args(1, MANY).repeat(Repeat::All),
    D::block(VHOST, "bandcheck", "vhost/bandcheck", "Bandwidth test.").not_built(Feature::Bandcheck),
    D::new(&["vhost/bandcheck"], "enabled", FLAG, "off", ENABLED),
    D::new(&["vhost/bandcheck"], "key", TEXT, "", "A client must show this key."),
    D::new(&["vhost/bandcheck"], "interval", SECONDS_OR_0, "30", "Least time between two tests, in seconds."),
    D::new(&["vhost/bandcheck"], "interval_ms", MILLIS_OR_0, "30000", "The same in milliseconds."),
    D::new(&["vhost/bandcheck"], "limit_kbps", COUNT, "1000", "Highest rate of a test, in kbit/s."),
    // HTTP of a vhost.
    D::block(VHOST, "http_static", "vhost/http_static", "Files over HTTP.").alias(&["http"]),
    D::new(STATIC, "enabled", FLAG, "off", ENABLED),
    D::new(STATIC, "mount", TEXT, "/", "URL path, may begin with [vhost]."),
    D::new(STATIC, "dir", PATH, HTML, "Directory."),
    D::block(VHOST, "http_remux", "vhost/http_remux", "Live streams over HTTP, as .flv, .ts, .mp4, .aac and .mp3."),
    D::new(REMUX, "enabled", FLAG, "off", ENABLED),
    D::new(REMUX, "fast_cache", SECONDS_OR_0, "0", "Sound that new listeners of .mp3 and .aac get at once, in seconds."),
    D::new(REMUX, "drop_if_not_match", FLAG, "on", "Drops packets that has_audio and has_video deny; off: FLV has them though its header says no."),
    D::new(REMUX, "has_audio", FLAG, "on", "The header announces audio; off: there is none for viewers over HTTP."),
    D::new(REMUX, "has_video", FLAG, "on", "The header announces video; off: there is none for viewers over HTTP."),
    D::new(REMUX, "guess_has_av", FLAG, "on", "Announces only what the stream has; off: the FLV header says what has_audio and has_video say."),
    D::new(REMUX, "hstrs", FLAG, "off", "A request waits for its stream, and an edge fetches it; here requests always wait (stream_wait).").no_effect(),
    D::new(REMUX, "mount", TEXT, "[vhost]/[app]/[stream].flv", "URL with variables; its ending, .flv, .ts, .mp3 or .aac, chooses the container."),
    D::new(REMUX, "snapshot_ffmpeg", TEXT, "ffmpeg", "Program that makes APP/STREAM.jpg, a picture of the newest key frame: a path, or a name that is looked for where programs are; off: there are no pictures."),
    // Files on disk.
    D::block(VHOST, "hls", "vhost/hls", "HLS: MPEG-TS segments and a playlist of each stream."),
    D::new(HLS, "enabled", FLAG, "off", ENABLED),
    D::new(HLS, "hls_fragment", SECONDS, "10", "Target length of a segment, in seconds."),
    D::new(HLS, "hls_td_ratio", Kind::Ratio, "1.0", "Factor on hls_fragment for the target duration in the playlist, where that is more than the longest segment."),
    D::new(HLS, "hls_aof_ratio", Kind::Ratio, "2.1", "With hls_wait_keyframe on: up to so many times hls_fragment a key frame is waited for, and the target duration in the playlist is that."),
    D::new(HLS, "hls_window", SECONDS, "60", "Length listed in the playlist, in seconds."),
    D::new(HLS, "hls_on_error", Kind::Choice(&["ignore", "disconnect", "continue"]), "ignore", "Of a publisher whose codecs have no place in HLS: disconnect ends it, ignore and continue leave out what has none."),
    D::new(HLS, "hls_path", PATH, HTML, "Root directory."),
    D::new(HLS, "hls_m3u8_file", TEXT, "[app]/[stream].m3u8", "Playlist below the root, with variables."),
    D::new(HLS, "hls_ts_file", TEXT, "[app]/[stream]-[seq].ts", "Segment below the root, with variables."),
    D::new(HLS, "hls_entry_prefix", TEXT, "", "Stands before segment names in the playlist."),
    D::new(HLS, "hls_acodec", TEXT, "aac", "Audio codec assumed before one is seen.").no_effect(),
    D::new(HLS, "hls_vcodec", TEXT, "h264", "Video codec assumed before one is seen.").no_effect(),
    D::new(HLS, "hls_cleanup", FLAG, "on", "Removes segments that left the playlist."),
    D::new(HLS, "hls_dispose", SECONDS_OR_0, "120", "A playlist says that nothing follows so many seconds after its stream ended (120 where it is 0), and two target durations later its files are removed; 0 never removes."),
    D::new(HLS, "hls_wait_keyframe", FLAG, "on", "Cuts at key frames only, up to hls_fragment times hls_aof_ratio; where pictures pause, on sound."),
    D::new(HLS, "hls_ts_floor", FLAG, "off", "Numbers segments by the clock."),
    D::new(HLS, "hls_nb_notify", COUNT_OR_0, "64", "Bytes of a segment read for on_hls_notify.").not_built(Feature::HttpHooks),
    D::new(HLS, "hls_ctx", FLAG, "on", "Counts viewers by a parameter of the playlist URL."),
    D::new(HLS, "hls_ts_ctx", FLAG, "on", "Counts viewers by a parameter of the segment URL."),
    D::new(HLS, "hls_keys", FLAG, "off", "Encrypts the segments.").not_built(Feature::HlsKeys),
    D::new(HLS, "hls_fragments_per_key", COUNT, "5", "Segments for one key.").not_built(Feature::HlsKeys),
    D::new(HLS, "hls_key_file", TEXT, "[app]/[stream]-[seq].key", "Key file, with variables.").not_built(Feature::HlsKeys),
    D::new(HLS, "hls_key_file_path", PATH, HTML, "Directory of the key files.").not_built(Feature::HlsKeys),
    D::new(HLS, "hls_key_url", TEXT, "", "URL of the keys in the playlist.").not_built(Feature::HlsKeys),
    D::new(HLS, "hls_dts_directly", FLAG, "on", "Leaves timestamps as the publisher sent them.").no_effect(),
    D::new(HLS, "hls_mount", TEXT, "", "Kept for files that have it.").no_effect(),
    D::new(HLS, "hls_storage", Kind::Choice(&["disk", "memory", "both", "ram"]), "disk", "Where segments are kept: as files, in the http process, or both. ram is read as memory."),
    D::block(VHOST, "dvr", "vhost/dvr", "Recording to files, FLV or fragmented MP4."),
    D::new(DVR, "enabled", FLAG, "off", ENABLED),
    D::new(DVR, "dvr_apply", TEXT, "all", "all, or streams as app/stream.").args(1, MANY),
    D::new(DVR, "dvr_plan", Kind::Choice(&["session", "segment", "hss", "append"]), "session", "One file per publish, segments, or one file that each publish continues (append). hss is read as segment."),
    D::new(DVR, "dvr_path", PATH, HTML, "Directory, or a file name with variables such as [app], [stream], [timestamp], [2006]; its ending, .flv or .mp4, chooses the container."),
    D::new(DVR, "dvr_duration", SECONDS, "30", "Length of a segment, in seconds."),
    D::new(DVR, "dvr_wait_keyframe", FLAG, "on", "Cuts at key frames only, where there are pictures."),
    D::new(DVR, "time_jitter", JITTER, "full", "Repair of timestamps in the file."),
    D::block(VHOST, "dash", "vhost/dash", "MPEG-DASH.").not_built(Feature::Dash),
    D::new(DASH, "enabled", FLAG, "off", ENABLED),
    D::new(DASH, "dash_fragment", SECONDS, "10", "Length of a segment, in seconds."),
    D::new(DASH, "dash_update_period", SECONDS, "5", "Period of the manifest, in seconds."),
    D::new(DASH, "dash_timeshift", SECONDS, "300", "Length kept available, in seconds."),
    D::new(DASH, "dash_path", PATH, HTML, "Root directory."),
    D::new(DASH, "dash_mpd_file", TEXT, "[app]/[stream].mpd", "Manifest below the root, with variables."),
    D::new(DASH, "dash_window_size", COUNT, "10", "Segments listed."),
    D::new(DASH, "dash_cleanup", FLAG, "on", "Removes segments that left the manifest."),
    D::new(DASH, "dash_dispose", SECONDS_OR_0, "120", "Removes the files of a stream so many seconds after it ended; 0 never."),
    D::block(VHOST, "hds", "vhost/hds", "Adobe HDS.").not_built(Feature::Hds),
    D::new(HDS, "enabled", FLAG, "off", ENABLED),
    D::new(HDS, "hds_fragment", SECONDS, "10", "Length of a segment, in seconds."),
    D::new(HDS, "hds_window", SECONDS, "60", "Length listed, in seconds."),
    D::new(HDS, "hds_path", PATH, HTML, "Root directory."),
    // Streams made by the server.
    D::new(VHOST, "ingest", TEXT, "", "A source that the server reads and publishes to itself; its argument is its name.").body(Body::Block("vhost/ingest")).args(0, 1).repeat(Repeat::ByName),
    D::new(INGEST, "enabled", FLAG, "off", ENABLED),
    D::new(INGEST, "ffmpeg", PATH, "builtin", "Program that does the work, one for each engine. builtin, or nothing, is the server itself, which reads .flv files."),
    D::block(INGEST, "input", "vhost/ingest/input", "What is read."),
    D::new(INPUT, "type", Kind::Choice(&["file", "stream"]), "file", "file is read at its own pace and started again at its end; stream as fast as it comes."),
    D::new(INPUT, "url", TEXT, "", "Path of the file, or URL."),
    D::new(INGEST, "output", TEXT, "rtmp://127.0.0.1:[port]/live/[ingest]?vhost=[vhost]", "Where the server itself publishes to, with the variables [vhost] and [port]; [ingest] is the name of the ingest."),
    D::new(VHOST, "transcode", TEXT, "", "Transcoding of published streams: of the vhost, of `app` or of `app/stream`.").body(Body::Block("vhost/transcode")).args(0, 1).repeat(Repeat::ByName).not_built(Feature::Transcode),
    D::new(TRANSCODE, "enabled", FLAG, "off", ENABLED),
    D::new(TRANSCODE, "ffmpeg", PATH, "", "Program that does the work."),
    D::new(&["vhost/ingest", "vhost/transcode"], "engine", TEXT, "", "One ffmpeg; its argument is its name.").body(Body::Block("vhost/engine")).args(0, 1).repeat(Repeat::All),
    D::new(ENGINE, "enabled", FLAG, "off", ENABLED),
    D::free(ENGINE, "perfile", "Options before the input."),
    D::new(ENGINE, "iformat", TEXT, "flv", "Container of the input; off lets ffmpeg find out."),
    D::free(ENGINE, "vfilter", "Options after the input, such as filters."),
    D::new(ENGINE, "vcodec", TEXT, "", "Video codec, copy, or vn for none."),
    D::new(ENGINE, "vbitrate", COUNT_OR_0, "0", "Video bit rate, in kbit/s."),
    D::new(ENGINE, "vfps", Kind::Number { min: 0, max: 1_000_000, scale: 1000, unit: "frames per second" }, "0", "Frames per second."),
    D::new(ENGINE, "vwidth", number(0, 65_536, "pixels"), "0", "Width in pixels, rounded down to an even number."),
    D::new(ENGINE, "vheight", number(0, 65_536, "pixels"), "0", "Height in pixels, rounded down to an even number."),
    D::new(ENGINE, "vthreads", number(0, 1_024, "threads"), "0", "Encoder threads; 0 lets the encoder choose."),
    D::new(ENGINE, "vprofile", TEXT, "", "H.264 profile."),
    D::new(ENGINE, "vpreset", TEXT, "", "Preset of the encoder."),
    D::free(ENGINE, "vparams", "Further video options."),
    D::new(ENGINE, "acodec", TEXT, "", "Audio codec, copy, or an for none."),
    D::new(ENGINE, "abitrate", COUNT_OR_0, "0", "Audio bit rate, in kbit/s."),
    D::new(ENGINE, "asample_rate", COUNT_OR_0, "0", "Samples per second."),
    D::new(ENGINE, "achannels", number(0, 2, "channels"), "0", "Channels."),
    D::free(ENGINE, "aparams", "Further audio options."),
    D::new(ENGINE, "oformat", TEXT, "flv", "Container of the output; off lets ffmpeg find out."),
    D::new(ENGINE, "output", TEXT, "", "URL to publish to, with the variables [vhost], [port], [app], [stream] and [engine]."),
    D::opaque(VHOST, "srt", Feature::Srt, "SRT of this vhost."),
    D::opaque(VHOST, "rtc", Feature::Rtc, "WebRTC of this vhost."),
];

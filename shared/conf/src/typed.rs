//! From checked entries to the typed configuration: the server's part.
//!
//! Values are already read and in range; what remains are the relations between them. An absent directive leaves the
//! default of the struct in place.

mod block;
mod streams;
mod virtual_host;

use std::path::PathBuf;

use block::{Block, set};

use crate::check::{Entry, Item};
use crate::config::{
    Config, Credentials, Exporter, Grace, Heartbeat, HttpApi, HttpServer, Https, Level, Limits, Listen, Log,
    PithyPrint, ProcessMode, RawApi, Reads, Ring, Stats, Tank, Workers,
};
use crate::diagnostic::{Report, SourcePos};
use crate::value::Value;

/// Builds the configuration of the entries of the top level.
pub(crate) fn config(name: &str, entries: &[Entry], report: &mut Report) -> Config {
    let top = Block(entries);
    let rtmp = top.block("rtmp");
    let mut config = Config { listen: listeners(name, &top, &rtmp, report), ..Config::default() };
    set(&mut config.pid, top.path("pid"));
    config.runtime_dir = top.path("runtime_dir").unwrap_or_else(|| runtime_dir_of(&config.pid));
    set(&mut config.daemon, top.flag("daemon"));
    set(&mut config.max_connections, top.int("max_connections"));
    set(&mut config.workers, top.get("workers").and_then(workers));
    set(&mut config.backsources, top.int("backsources"));
    set(&mut config.http_workers, top.int("http_workers"));
    if top.text("process_mode") == Some("single") {
        config.process_mode = ProcessMode::Single;
    }
    set(&mut config.chunk_size, top.int("chunk_size").or_else(|| rtmp.int("chunk_size")));
    config.work_dir = top.path("work_dir").filter(|dir| dir.as_os_str() != "./");
    set(&mut config.ff_log_dir, top.path("ff_log_dir"));
    set(&mut config.ff_log_level, top.string("ff_log_level"));
    config.log = log(&top);
    config.http_api = http_api(&top.block("http_api"));
    config.http_server = http_server(&top.block("http_server"));
    config.exporter = exporter(&top.block("exporter"));
    config.heartbeat = heartbeat(&top.block("heartbeat"));
    let stats = top.block("stats");
    config.stats = Stats { network: stats.int("network").unwrap_or(0), disks: stats.strings("disk") };
    config.pithy_print = pithy_print(&top);
    config.ring = ring(&top.block("ring"), report);
    config.limits = limits(&top.block("limits"), report);
    config.grace = grace(&top);
    set(&mut config.watchdog_ms, top.number("watchdog"));
    set(&mut config.asprocess, top.flag("asprocess"));
    set(&mut config.inotify_auto_reload, top.flag("inotify_auto_reload"));
    set(&mut config.empty_ip_ok, top.flag("empty_ip_ok"));
    config.server_id = top.string("server_id");
    set(&mut config.private_api_port, top.number("private_api_port").and_then(|n| n.try_into().ok()));
    for entry in top.all("vhost") {
        let vhost = virtual_host::vhost(entry, config.chunk_size, report);
        config.vhosts.push(vhost);
    }
    config
}

fn listeners(name: &str, top: &Block<'_>, rtmp: &Block<'_>, report: &mut Report) -> Vec<Listen> {
    let mut listeners: Vec<Listen> = Vec::new();
    for item in top.all("listen").chain(rtmp.all("listen")).flat_map(|entry| &entry.items) {
        let Value::Listen(listen) = item.value else { continue };
        if listen.address.port() != 0 && listeners.contains(&listen) {
            report.error(&item.place, format!("{} is listened on twice", listen.address));
        }
        listeners.push(listen);
    }
    let tried = !report.errors.is_empty();
    if listeners.is_empty() && !tried {
        report.error(
            &SourcePos::Whole(name.into()),
            "no listen directive (expected at least one RTMP port)".into(),
        );
    }
    listeners
}

/// The runtime directory that belongs to a pid file: its own directory for `srs.pid`, one of its own for any other name, so
/// that several servers in one folder do not meet (`objs/srs.edge.pid` has `objs/srs.edge`).
fn runtime_dir_of(pid: &std::path::Path) -> PathBuf {
    let parent = match pid.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let name = pid.file_name().unwrap_or_default().to_string_lossy();
    match name.strip_suffix(".pid").unwrap_or(&name) {
        "srs" | "" => parent,
        // The file itself stands there.
        other if other == name => parent.join(format!("{other}.d")),
        other => parent.join(other),
    }
}

fn workers(entry: &Entry) -> Option<Workers> {
    match entry.items.first()? {
        Item { value: Value::Number(count), .. } => Some(Workers::Count(u32::try_from(*count).ok()?)),
        _ => Some(Workers::Auto),
    }
}

fn log(top: &Block<'_>) -> Log {
    let mut log = Log::default();
    if top.text("srs_log_tank") == Some("console") {
        log.tank = Tank::Console;
    }
    log.level = match (top.text("srs_log_level_v2"), top.text("srs_log_level")) {
        (Some("error"), _) | (None, Some("error")) => Level::Error,
        (Some("warn"), _) | (None, Some("warn")) => Level::Warn,
        (Some("debug"), _) | (None, Some("info")) => Level::Info,
        (Some("verbose" | "trace"), _) | (None, Some("verbose")) => Level::Verbose,
        _ => Level::Trace,
    };
    set(&mut log.file, top.path("srs_log_file"));
    set(&mut log.utc, top.flag("utc_time"));
    log
}

fn https(block: &Block<'_>, mut https: Https) -> Https {
    set(&mut https.enabled, block.flag("enabled"));
    set(&mut https.listen, block.address("listen"));
    set(&mut https.key, block.path("key"));
    set(&mut https.cert, block.path("cert"));
    https
}

fn http_api(block: &Block<'_>) -> HttpApi {
    let mut api = HttpApi::default();
    set(&mut api.enabled, block.flag("enabled"));
    set(&mut api.listen, block.address("listen"));
    set(&mut api.crossdomain, block.flag("crossdomain"));
    let raw = block.block("raw_api");
    api.raw_api = RawApi {
        enabled: raw.flag("enabled").unwrap_or(false),
        allow_reload: raw.flag("allow_reload").unwrap_or(false),
    };
    let auth = block.block("auth");
    api.auth = (auth.flag("enabled") == Some(true)).then(|| Credentials {
        username: auth.string("username").unwrap_or_default(),
        password: auth.string("password").unwrap_or_default(),
    });
    api.https = https(&block.block("https"), api.https);
    api.reads = match block.text("reads") {
        Some("all") => Reads::All,
        Some("token") => Reads::Token,
        _ => Reads::Loopback,
    };
    api.hosts = block.strings("hosts");
    set(&mut api.jsonp, block.flag("jsonp"));
    set(&mut api.nginx_rtmp, block.flag("nginx_rtmp"));
    api.string_ids = block.text("ids") == Some("strings");
    api.control_for_loopback = block.text("nginx_control") == Some("loopback");
    api
}

fn http_server(block: &Block<'_>) -> HttpServer {
    let mut server = HttpServer::default();
    set(&mut server.enabled, block.flag("enabled"));
    set(&mut server.listen, block.address("listen"));
    set(&mut server.dir, block.path("dir"));
    set(&mut server.crossdomain, block.flag("crossdomain"));
    set(&mut server.stream_wait_ms, block.number("stream_wait"));
    set(&mut server.vod, block.flag("vod"));
    set(&mut server.console, block.flag("console"));
    server.https = https(&block.block("https"), server.https);
    server
}

fn exporter(block: &Block<'_>) -> Exporter {
    let mut exporter = Exporter::default();
    set(&mut exporter.enabled, block.flag("enabled"));
    set(&mut exporter.listen, block.address("listen"));
    set(&mut exporter.top_streams, block.int("top_streams"));
    set(&mut exporter.label, block.string("label"));
    set(&mut exporter.tag, block.string("tag"));
    exporter
}

fn heartbeat(block: &Block<'_>) -> Heartbeat {
    let mut beat = Heartbeat::default();
    set(&mut beat.enabled, block.flag("enabled"));
    set(&mut beat.interval_ms, block.number("interval"));
    set(&mut beat.url, block.string("url"));
    set(&mut beat.device_id, block.string("device_id"));
    set(&mut beat.summaries, block.flag("summaries"));
    set(&mut beat.ports, block.flag("ports").or_else(|| block.block("ports").flag("enabled")));
    beat
}

fn pithy_print(top: &Block<'_>) -> PithyPrint {
    let block = top.block("pithy_print");
    let all = top.number("pithy_print_ms");
    let mut print = PithyPrint::default();
    for (slot, name) in [
        (&mut print.publish_ms, "publish"),
        (&mut print.play_ms, "play"),
        (&mut print.forwarder_ms, "forwarder"),
        (&mut print.encoder_ms, "encoder"),
        (&mut print.ingester_ms, "ingester"),
        (&mut print.hls_ms, "hls"),
        (&mut print.edge_ms, "edge"),
    ] {
        set(slot, block.number(name).or(all));
    }
    print
}

fn ring(block: &Block<'_>, report: &mut Report) -> Ring {
    let mut ring = Ring::default();
    set(&mut ring.initial_bytes, block.number("initial"));
    set(&mut ring.max_bytes, block.number("max"));
    set(&mut ring.total_bytes, block.number("total"));
    block.ordered("initial", ring.initial_bytes, "max", ring.max_bytes, report);
    block.ordered("max", ring.max_bytes, "total", ring.total_bytes, report);
    ring
}

fn limits(block: &Block<'_>, report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits.max_message, block.int("max_message"));
    set(&mut limits.max_command_message, block.int("max_command_message"));
    set(&mut limits.max_data_message, block.int("max_data_message"));
    set(&mut limits.chunk_size_min, block.int("chunk_size_min"));
    set(&mut limits.chunk_size_max, block.int("chunk_size_max"));
    set(&mut limits.clamp_chunk_size, block.flag("clamp_chunk_size"));
    set(&mut limits.max_csids, block.int("max_csids"));
    set(&mut limits.max_messages_in_flight, block.int("max_messages_in_flight"));
    set(&mut limits.max_reassembly, block.number("max_reassembly"));
    set(&mut limits.max_reassembly_total, block.number("max_reassembly_total"));
    set(&mut limits.amf_depth, block.int("amf_depth"));
    set(&mut limits.amf_nodes, block.int("amf_nodes"));
    set(&mut limits.amf_keys, block.int("amf_keys"));
    set(&mut limits.amf_string, block.int("amf_string"));
    set(&mut limits.amf_total, block.int("amf_total"));
    set(&mut limits.handshake_timeout_ms, block.number("handshake_timeout_ms"));
    set(&mut limits.identify_timeout_ms, block.number("identify_timeout_ms"));
    set(&mut limits.stalled_timeout_ms, block.number("stalled_timeout_ms"));
    set(&mut limits.min_drain_rate, block.int("min_drain_rate"));
    set(&mut limits.turn_messages, block.int("turn_messages"));
    set(&mut limits.turn_bytes, block.int("turn_bytes"));
    set(&mut limits.turn_accepts, block.int("turn_accepts"));
    set(&mut limits.message_streams, block.int("message_streams"));
    set(&mut limits.name_bytes, block.int("name_bytes"));
    set(&mut limits.queue_bytes, block.number("queue_bytes"));
    set(&mut limits.hls_memory, block.number("hls_memory"));
    set(&mut limits.pending_pings, block.int("pending_pings"));
    set(&mut limits.ack_window_min, block.int("ack_window_min"));
    set(&mut limits.ack_window_max, block.int("ack_window_max"));
    set(&mut limits.unestablished_per_ip, block.int("unestablished_per_ip"));
    set(&mut limits.unestablished_total, block.int("unestablished_total"));
    let (min, max) = (limits.chunk_size_min.into(), limits.chunk_size_max.into());
    block.ordered("chunk_size_min", min, "chunk_size_max", max, report);
    let (min, max) = (limits.ack_window_min.into(), limits.ack_window_max.into());
    block.ordered("ack_window_min", min, "ack_window_max", max, report);
    limits
}

fn grace(top: &Block<'_>) -> Grace {
    let mut grace = Grace::default();
    set(&mut grace.start_wait_ms, top.number("grace_start_wait"));
    set(&mut grace.final_wait_ms, top.number("grace_final_wait"));
    set(&mut grace.timeout_ms, top.number("grace_timeout"));
    set(&mut grace.force, top.flag("force_grace_quit"));
    grace
}

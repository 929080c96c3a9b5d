//! One vhost block, in any of the spellings that the versions have had.

use std::net::IpAddr;

use super::block::{Block, set, texts};
use super::streams;
use crate::check::{Entry, Item};
use crate::config::Vhost;
use crate::diagnostic::{Report, quoted};
use crate::value::Value;
use crate::vhost::{
    Bandcheck, Cluster, ClusterMode, Dash, Dvr, DvrPlan, Exec, Forward, Hds, Hls, HlsOnError, HlsStorage,
    HttpHooks, HttpRemux, HttpStatic, MwLatency, Publish, PublishTakeover, PullProtocol, Refer, Rule,
    RuleAction, Security, TimeJitter,
};

/// Longest vhost name, bytes.
const MAX_NAME_BYTES: usize = 255;

/// Builds a vhost; `chunk_size` is that of the server.
pub(super) fn vhost(entry: &Entry, chunk_size: u32, report: &mut Report) -> Vhost {
    let name = entry.first_text();
    if name.len() > MAX_NAME_BYTES {
        report.error(&entry.place, format!("the name of the vhost has more than {MAX_NAME_BYTES} bytes"));
    }
    let block = Block(entry.block.as_deref().unwrap_or_default());
    let mut vhost = Vhost::new(name, chunk_size);
    set(&mut vhost.enabled, block.flag("enabled"));
    set(&mut vhost.chunk_size, block.int("chunk_size"));
    delivery(&block, &mut vhost);
    set(&mut vhost.publish_takeover, publish_takeover(&block));
    vhost.publish = publish(&block);
    vhost.refer = refer(&block);
    vhost.cluster = cluster(&block, vhost.enabled, report);
    vhost.forward = forward(&block);
    vhost.security = security(&block.block("security"), report);
    vhost.http_hooks = http_hooks(&block.block("http_hooks"));
    let exec = block.block("exec");
    vhost.exec = Exec {
        enabled: exec.flag("enabled").unwrap_or(false),
        publish: exec.all("publish").map(texts).collect(),
    };
    vhost.bandcheck = bandcheck(&block.block("bandcheck"));
    vhost.http_static = http_static(&block.block("http_static"));
    vhost.http_remux = http_remux(&block.block("http_remux"));
    vhost.hls = hls(&block.block("hls"));
    vhost.dvr = dvr(&block.block("dvr"));
    vhost.dash = dash(&block.block("dash"));
    vhost.hds = hds(&block.block("hds"));
    for ingest in block.all("ingest") {
        vhost.ingests.push(streams::ingest(ingest, vhost.enabled, report));
    }
    vhost.transcodes = block.all("transcode").map(streams::transcode).collect();
    vhost
}

fn delivery(block: &Block<'_>, vhost: &mut Vhost) {
    set(&mut vhost.gop_cache, block.flag("gop_cache"));
    set(&mut vhost.gop_cache_max_frames, block.int("gop_cache_max_frames"));
    set(&mut vhost.queue_length_ms, block.number("queue_length"));
    set(&mut vhost.time_jitter, time_jitter(block));
    set(&mut vhost.atc, block.flag("atc"));
    set(&mut vhost.atc_auto, block.flag("atc_auto"));
    set(&mut vhost.mix_correct, block.flag("mix_correct"));
    set(&mut vhost.mw_latency, block.number("mw_latency").map(MwLatency::Fixed));
    vhost.mw_msgs = block.int("mw_msgs");
    set(&mut vhost.min_latency, block.flag("min_latency"));
    vhost.tcp_nodelay = block.flag("tcp_nodelay");
    set(&mut vhost.send_buffer, block.int("send_buffer"));
    set(&mut vhost.tcp_notsent_lowat, block.int("tcp_notsent_lowat"));
    set(&mut vhost.play_idle_timeout_ms, block.number("idle_timeout"));
    set(&mut vhost.send_min_interval_us, block.number("send_min_interval"));
    set(&mut vhost.reduce_sequence_header, block.flag("reduce_sequence_header"));
    set(&mut vhost.in_ack_size, block.int("in_ack_size"));
    set(&mut vhost.out_ack_size, block.int("out_ack_size"));
}

fn publish_takeover(block: &Block<'_>) -> Option<PublishTakeover> {
    Some(match block.text("publish_takeover")? {
        "on" => PublishTakeover::On,
        "off" => PublishTakeover::Off,
        _ => PublishTakeover::Same,
    })
}

fn time_jitter(block: &Block<'_>) -> Option<TimeJitter> {
    Some(match block.text("time_jitter")? {
        "zero" => TimeJitter::Zero,
        "off" => TimeJitter::Off,
        _ => TimeJitter::Full,
    })
}

fn publish(vhost: &Block<'_>) -> Publish {
    let block = vhost.block("publish");
    let mr = vhost.block("mr");
    let mut publish = Publish::default();
    let first = block.number("firstpkt_timeout").or_else(|| vhost.number("publish_1stpkt_timeout"));
    set(&mut publish.firstpkt_timeout_ms, first);
    let normal = block.number("normal_timeout").or_else(|| vhost.number("publish_normal_timeout"));
    set(&mut publish.normal_timeout_ms, normal);
    set(&mut publish.kickoff_for_idle_ms, block.number("kickoff_for_idle"));
    set(&mut publish.mr, block.flag("mr").or_else(|| mr.flag("enabled")));
    set(&mut publish.mr_latency_ms, block.number("mr_latency").or_else(|| mr.number("latency")));
    set(&mut publish.parse_sps, block.flag("parse_sps"));
    set(&mut publish.try_annexb_first, block.flag("try_annexb_first"));
    publish
}

/// The flat lists count always, the block only when it is switched on.
fn refer(vhost: &Block<'_>) -> Refer {
    let mut refer = Refer {
        all: vhost.strings("refer"),
        play: vhost.strings("refer_play"),
        publish: vhost.strings("refer_publish"),
    };
    let block = vhost.block("refer");
    if block.flag("enabled") == Some(true) {
        refer.all.extend(block.strings("all"));
        refer.play.extend(block.strings("play"));
        refer.publish.extend(block.strings("publish"));
    }
    refer
}

fn cluster(block: &Block<'_>, enabled: bool, report: &mut Report) -> Cluster {
    let mut cluster = Cluster { origins: block.endpoints("origin"), ..Cluster::default() };
    if block.text("mode") == Some("remote") {
        cluster.mode = ClusterMode::Remote;
    }
    set(&mut cluster.token_traverse, block.flag("token_traverse"));
    cluster.vhost = block.string("vhost");
    set(&mut cluster.debug_srs_upnode, block.flag("debug_srs_upnode"));
    set(&mut cluster.origin_cluster, block.flag("origin_cluster"));
    cluster.coworkers = block.strings("coworkers");
    if block.text("protocol") == Some("flv") {
        cluster.protocol = PullProtocol::Flv;
    }
    set(&mut cluster.follow_client, block.flag("follow_client"));
    if let (true, ClusterMode::Remote, true) = (enabled, cluster.mode, cluster.origins.is_empty())
        && let Some(entry) = block.get("mode")
    {
        report.error(&entry.place, "mode remote needs an origin (expected an origin directive)".into());
    }
    cluster
}

fn forward(vhost: &Block<'_>) -> Forward {
    let block = vhost.block("forward");
    let mut destinations = vhost.endpoints("forward");
    let enabled = !destinations.is_empty() || block.flag("enabled").unwrap_or(false);
    destinations.extend(block.endpoints("destination"));
    Forward { enabled, destinations, backend: block.string("backend") }
}

fn security(block: &Block<'_>, report: &mut Report) -> Security {
    let mut rules = Vec::new();
    for entry in block.0 {
        let action = match entry.row.name {
            "allow" => RuleAction::Allow,
            "deny" => RuleAction::Deny,
            _ => continue,
        };
        if let [who, from] = entry.items.as_slice() {
            let publish = word(who) == "publish";
            if !publish && word(who) != "play" {
                report.error(&who.place, format!("{} is neither publish nor play", quoted(word(who))));
            }
            match network(word(from)) {
                Some(network) => rules.push(Rule { action, publish, network }),
                None => {
                    let expected = "expected all, an address, or a network such as 10.0.0.0/8";
                    report
                        .error(&from.place, format!("{} is not a network ({expected})", quoted(word(from))));
                }
            }
        }
    }
    Security { enabled: block.flag("enabled").unwrap_or(false), rules }
}

fn word(item: &Item) -> &str {
    if let Value::Text(text) = &item.value { text } else { "" }
}

#[expect(clippy::option_option, reason = "outer: readable at all; inner: a network rather than everybody")]
fn network(text: &str) -> Option<Option<(IpAddr, u8)>> {
    if text == "all" {
        return Some(None);
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => longest,
    };
    (prefix <= longest).then_some(Some((address, prefix)))
}

fn http_hooks(block: &Block<'_>) -> HttpHooks {
    HttpHooks {
        enabled: block.flag("enabled").unwrap_or(false),
        on_connect: block.strings("on_connect"),
        on_close: block.strings("on_close"),
        on_publish: block.strings("on_publish"),
        on_unpublish: block.strings("on_unpublish"),
        on_play: block.strings("on_play"),
        on_stop: block.strings("on_stop"),
        on_dvr: block.strings("on_dvr"),
        on_hls: block.strings("on_hls"),
        on_hls_notify: block.strings("on_hls_notify"),
    }
}

fn bandcheck(block: &Block<'_>) -> Bandcheck {
    let mut check = Bandcheck::default();
    set(&mut check.enabled, block.flag("enabled"));
    set(&mut check.key, block.string("key"));
    set(&mut check.interval_ms, block.number("interval").or_else(|| block.number("interval_ms")));
    set(&mut check.limit_kbps, block.int("limit_kbps"));
    check
}

fn http_static(block: &Block<'_>) -> HttpStatic {
    let mut files = HttpStatic::default();
    set(&mut files.enabled, block.flag("enabled"));
    set(&mut files.mount, block.string("mount"));
    set(&mut files.dir, block.path("dir"));
    files
}

fn http_remux(block: &Block<'_>) -> HttpRemux {
    let mut remux = HttpRemux::default();
    set(&mut remux.enabled, block.flag("enabled"));
    set(&mut remux.fast_cache_ms, block.number("fast_cache"));
    set(&mut remux.drop_if_not_match, block.flag("drop_if_not_match"));
    set(&mut remux.has_audio, block.flag("has_audio"));
    set(&mut remux.has_video, block.flag("has_video"));
    set(&mut remux.guess_has_av, block.flag("guess_has_av"));
    set(&mut remux.mount, block.string("mount"));
    if let Some(program) = block.string("snapshot_ffmpeg") {
        remux.snapshot_ffmpeg = (program != "off").then(|| program.into());
    }
    remux
}

fn hls(block: &Block<'_>) -> Hls {
    let mut hls = Hls::default();
    set(&mut hls.enabled, block.flag("enabled"));
    set(&mut hls.fragment_ms, block.number("hls_fragment"));
    set(&mut hls.td_ratio, block.ratio("hls_td_ratio"));
    set(&mut hls.aof_ratio, block.ratio("hls_aof_ratio"));
    set(&mut hls.window_ms, block.number("hls_window"));
    match block.text("hls_on_error") {
        Some("disconnect") => hls.on_error = HlsOnError::Disconnect,
        Some("continue") => hls.on_error = HlsOnError::Continue,
        _ => {}
    }
    match block.text("hls_storage") {
        Some("memory" | "ram") => hls.storage = HlsStorage::Memory,
        Some("both") => hls.storage = HlsStorage::Both,
        _ => {}
    }
    set(&mut hls.path, block.path("hls_path"));
    set(&mut hls.m3u8_file, block.string("hls_m3u8_file"));
    set(&mut hls.ts_file, block.string("hls_ts_file"));
    set(&mut hls.entry_prefix, block.string("hls_entry_prefix"));
    set(&mut hls.acodec, block.string("hls_acodec"));
    set(&mut hls.vcodec, block.string("hls_vcodec"));
    set(&mut hls.cleanup, block.flag("hls_cleanup"));
    set(&mut hls.dispose_ms, block.number("hls_dispose"));
    set(&mut hls.wait_keyframe, block.flag("hls_wait_keyframe"));
    set(&mut hls.ts_floor, block.flag("hls_ts_floor"));
    set(&mut hls.nb_notify, block.int("hls_nb_notify"));
    set(&mut hls.ctx, block.flag("hls_ctx"));
    set(&mut hls.ts_ctx, block.flag("hls_ts_ctx"));
    set(&mut hls.keys, block.flag("hls_keys"));
    set(&mut hls.fragments_per_key, block.int("hls_fragments_per_key"));
    set(&mut hls.key_file, block.string("hls_key_file"));
    set(&mut hls.key_file_path, block.path("hls_key_file_path"));
    set(&mut hls.key_url, block.string("hls_key_url"));
    set(&mut hls.dts_directly, block.flag("hls_dts_directly"));
    hls
}

fn dvr(block: &Block<'_>) -> Dvr {
    let mut dvr = Dvr { apply: block.strings("dvr_apply"), ..Dvr::default() };
    if dvr.apply.iter().any(|stream| stream == "all") {
        dvr.apply.clear();
    }
    set(&mut dvr.enabled, block.flag("enabled"));
    match block.text("dvr_plan") {
        Some("segment") => dvr.plan = DvrPlan::Segment,
        Some("hss") => dvr.plan = DvrPlan::Hss,
        Some("append") => dvr.plan = DvrPlan::Append,
        _ => {}
    }
    set(&mut dvr.path, block.string("dvr_path"));
    set(&mut dvr.duration_ms, block.number("dvr_duration"));
    set(&mut dvr.wait_keyframe, block.flag("dvr_wait_keyframe"));
    set(&mut dvr.time_jitter, time_jitter(block));
    dvr
}

fn dash(block: &Block<'_>) -> Dash {
    let mut dash = Dash::default();
    set(&mut dash.enabled, block.flag("enabled"));
    set(&mut dash.fragment_ms, block.number("dash_fragment"));
    set(&mut dash.update_period_ms, block.number("dash_update_period"));
    set(&mut dash.timeshift_ms, block.number("dash_timeshift"));
    set(&mut dash.path, block.path("dash_path"));
    set(&mut dash.mpd_file, block.string("dash_mpd_file"));
    set(&mut dash.window_size, block.int("dash_window_size"));
    set(&mut dash.cleanup, block.flag("dash_cleanup"));
    set(&mut dash.dispose_ms, block.number("dash_dispose"));
    dash
}

fn hds(block: &Block<'_>) -> Hds {
    let mut hds = Hds::default();
    set(&mut hds.enabled, block.flag("enabled"));
    set(&mut hds.fragment_ms, block.number("hds_fragment"));
    set(&mut hds.window_ms, block.number("hds_window"));
    set(&mut hds.path, block.path("hds_path"));
    hds
}

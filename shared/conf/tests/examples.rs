//! The files in `conf/`, the reference page, and the completeness of the table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use conf::directive::{self, DIRECTIVES};
use conf::tree::{self, Node};
use conf::{Environment, load};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const SHIPPED: &[&str] = &[
    "bandwidth.conf",
    "console.conf",
    "demo.19350.conf",
    "demo.conf",
    "dvr.segment.conf",
    "dvr.session.conf",
    "edge.conf",
    "edge.token.traverse.conf",
    "ffmpeg.conf",
    "ffmpeg.transcode.conf",
    "forward.master.conf",
    "forward.slave.conf",
    "full.conf",
    "hls.conf",
    "http.heartbeat.conf",
    "http.hls.conf",
    "http.hooks.callback.conf",
    "ingest.conf",
    "origin.conf",
    "realtime.conf",
    "rtmp.conf",
    "srs.conf",
    "transcode2hls.audio.only.conf",
];

#[test]
fn every_shipped_file_is_good() {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("conf")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "conf") {
            let loaded = load(&path, &Environment::empty());
            assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    for name in SHIPPED {
        assert!(found.contains(*name), "conf/{name} is missing");
    }
}

#[test]
fn files_that_need_nothing_unbuilt_give_no_warning() {
    for name in
        ["demo.conf", "rtmp.conf", "realtime.conf", "ingest.conf", "origin.conf", "forward.slave.conf"]
    {
        let loaded = load(&root().join("conf").join(name), &Environment::empty()).unwrap();
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn full_conf_repeats_nothing() {
    let loaded = load(&root().join("conf/full.conf"), &Environment::empty()).unwrap();
    for warning in loaded.warnings {
        assert!(warning.message.contains("is not built yet"), "{warning}");
    }
}

/// Shown in a comment: it would change what the rest means.
const COMMENTED: [&str; 2] = ["include", "unsafe_ignore"];

#[test]
fn full_conf_shows_every_directive() {
    let text = std::fs::read(root().join("conf/full.conf")).unwrap();
    let nodes = tree::parse(&"full.conf".into(), &text).unwrap();
    let mut shown = BTreeSet::new();
    collect(&nodes, "", &mut shown);
    for row in DIRECTIVES.iter().filter(|row| !COMMENTED.contains(&row.name)) {
        let place = row.within[0];
        let there =
            row.within.iter().any(|path| row.names().any(|name| shown.contains(&(*path, name.to_owned()))));
        assert!(there, "full.conf does not show {} of {place:?}", row.name);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(COMMENTED.iter().all(|name| text.contains(&format!("# {name} "))));
}

fn collect(nodes: &[Node], path: &'static str, shown: &mut BTreeSet<(&'static str, String)>) {
    for node in nodes {
        shown.insert((path, node.name.text.clone()));
        let inner = directive::find(path, &node.name.text).and_then(directive::Directive::opens);
        if let (Some(inner), Some(block)) = (inner, &node.block) {
            collect(block, inner, shown);
        }
    }
}

#[test]
fn pages_made_from_the_table_are_up_to_date() {
    let pages = [
        ("docs/directives.md", conf::docs::directives_markdown()),
        ("docs/not-built.md", conf::docs::not_built_markdown()),
    ];
    for (name, page) in pages {
        let path = root().join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == page, "{name} is out of date: run this test with UPDATE_DOCS=1");
    }
}

/// Block path and the names that files of any version may have there.
const NAMES: &[(&str, &str)] = &[
    (
        "",
        "listen pid chunk_size ff_log_dir ff_log_level srs_log_tank srs_log_level srs_log_level_v2 srs_log_file \
         max_connections daemon utc_time pithy_print pithy_print_ms work_dir asprocess empty_ip_ok grace_start_wait \
         grace_final_wait force_grace_quit inotify_auto_reload include server_id in_docker disable_daemon_for_docker \
         auto_reload_for_docker tcmalloc_release_rate query_latest_version first_wait_for_qlv is_full threads http_api \
         http_stream http_server exporter heartbeat stats circuit_breaker srt_server rtc_server stream_caster \
         tencentcloud_cls tencentcloud_apm vhost workers backsources process_mode grace_timeout watchdog \
         private_api_port runtime_dir ring limits rtmp",
    ),
    ("threads", "interval"),
    ("pithy_print", "publish play forwarder encoder ingester hls edge"),
    ("http_api", "enabled listen crossdomain raw_api auth https"),
    ("http_api/raw_api", "enabled allow_reload"),
    ("http_api/auth", "enabled username password"),
    ("http_api/https", "enabled listen key cert"),
    ("http_server", "enabled listen dir crossdomain https"),
    ("http_server/https", "enabled listen key cert"),
    ("exporter", "enabled listen label tag"),
    ("heartbeat", "enabled interval url device_id summaries ports"),
    ("stats", "network disk"),
    (
        "circuit_breaker",
        "enabled high_threshold high_pulse critical_threshold critical_pulse dying_threshold dying_pulse",
    ),
    (
        "vhost",
        "enabled chunk_size gop_cache queue_length refer refer_play refer_publish forward atc atc_auto time_jitter mode \
         origin token_traverse debug_srs_upnode hls dvr http http_hooks bandcheck transcode ingest min_latency \
         tcp_nodelay in_ack_size out_ack_size play publish cluster security http_static http_remux exec dash hds srt rtc \
         publish_takeover mw_latency send_buffer tcp_notsent_lowat",
    ),
    (
        "vhost/play",
        "mw_latency mw_msgs gop_cache gop_cache_max_frames queue_length time_jitter atc atc_auto mix_correct \
         send_min_interval reduce_sequence_header",
    ),
    (
        "vhost/publish",
        "mr mr_latency parse_sps firstpkt_timeout normal_timeout try_annexb_first kickoff_for_idle",
    ),
    (
        "vhost/cluster",
        "mode origin token_traverse vhost debug_srs_upnode origin_cluster coworkers protocol follow_client",
    ),
    ("vhost/forward", "enabled destination backend vhost refer"),
    ("vhost/refer", "enabled all publish play"),
    ("vhost/security", "enabled allow deny"),
    ("vhost/http_static", "enabled mount dir"),
    ("vhost/http_remux", "enabled fast_cache drop_if_not_match has_audio has_video guess_has_av mount"),
    (
        "vhost/http_hooks",
        "enabled on_connect on_close on_publish on_unpublish on_play on_stop on_dvr on_dvr_reap_flv on_hls on_hls_notify",
    ),
    ("vhost/exec", "enabled publish"),
    ("vhost/bandcheck", "enabled key interval interval_ms limit_kbps"),
    (
        "vhost/dash",
        "enabled dash_fragment dash_update_period dash_timeshift dash_path dash_mpd_file dash_window_size dash_cleanup \
         dash_dispose",
    ),
    (
        "vhost/hls",
        "enabled hls_fragment hls_td_ratio hls_aof_ratio hls_window hls_on_error hls_path hls_m3u8_file hls_ts_file \
         hls_entry_prefix hls_acodec hls_vcodec hls_cleanup hls_dispose hls_wait_keyframe hls_ts_floor hls_nb_notify \
         hls_ctx hls_ts_ctx hls_keys hls_fragments_per_key hls_key_file hls_key_file_path hls_key_url hls_dts_directly",
    ),
    ("vhost/hds", "enabled hds_fragment hds_window hds_path"),
    ("vhost/dvr", "enabled dvr_apply dvr_plan dvr_path dvr_duration dvr_wait_keyframe time_jitter"),
    ("vhost/ingest", "enabled ffmpeg input engine output"),
    ("vhost/ingest/input", "type url"),
    ("vhost/transcode", "enabled ffmpeg engine"),
    (
        "vhost/engine",
        "enabled perfile iformat vfilter vcodec vbitrate vfps vwidth vheight vthreads vprofile vpreset vparams acodec \
         abitrate asample_rate achannels aparams oformat output",
    ),
    ("ring", "initial max total"),
    (
        "limits",
        "max_message max_command_message chunk_size_min chunk_size_max clamp_chunk_size max_csids \
         max_messages_in_flight max_reassembly amf_depth amf_nodes amf_keys amf_string amf_total handshake_timeout_ms \
         identify_timeout_ms turn_messages turn_bytes message_streams name_bytes stalled_timeout_ms unestablished_per_ip \
         unestablished_total",
    ),
];

#[test]
fn every_name_of_every_version_is_known() {
    for (path, names) in NAMES {
        for name in names.split_ascii_whitespace() {
            assert!(directive::find(path, name).is_some(), "{name} is not known in {path:?}");
        }
    }
}

#[test]
fn the_table_has_no_name_twice() {
    let mut seen = BTreeSet::new();
    for row in DIRECTIVES {
        for path in row.within {
            for name in row.names() {
                assert!(seen.insert((*path, name)), "{name} stands twice in {path:?}");
            }
            assert!(path.is_empty() || directive::block_of(path).is_some(), "nothing opens {path:?}");
        }
    }
}

//! The API as other programs see it: an AMF decoder, Prometheus' checker, scripts of curl and jq, a reader of nginx-rtmp's
//! statistics page; and the examples of docs/api.md.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use srs_tests::capture::player;
use srs_tests::http::ask;
use srs_tests::pattern::Live;
use srs_tests::process::run;
use srs_tests::program::{self, have, source_tree};
use srs_tests::raw::Raw;
use srs_tests::server::{Server, configuration};
use srs_tests::tools;
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

const CONFIGURATION: &str = "http_api { enabled on; listen 127.0.0.1:0; nginx_rtmp on; raw_api { enabled on; \
                             allow_reload on; } }\nexporter { enabled on; listen 127.0.0.1:0; }\n\
                             http_server { enabled on; listen 127.0.0.1:0; dir pages; }\n\
                             vhost __defaultVhost__ { hls { enabled on; hls_storage memory; } \
                             dvr { enabled on; dvr_path TOP/rec/[app]/[stream].flv; } }\n";

fn busy() -> (Server, Live, client::Player) {
    let directory = TempDir::new().unwrap();
    let text = CONFIGURATION.replace("TOP", &directory.path().display().to_string());
    let text = configuration(directory.path(), &text);
    let server = Server::start_in(directory, &text);
    let live = Live::start(&server.url("live/livestream"), Duration::from_millis(20));
    server.wait_published("live/livestream");
    let player = player(&server.url("live/livestream"));
    server.wait_players(1);
    (server, live, player)
}

/// Decodes AMF0 and compares it with JSON: all names, all kinds, all values. What changes from one moment to the next may
/// differ in its number only: it is named.
const COMPARE: &str = r#"
import json, sys, pyamf
amf = list(pyamf.decode(open(sys.argv[1], "rb").read(), encoding=pyamf.AMF0))
assert len(amf) == 1, amf
def plain(value):
    if isinstance(value, dict): return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "__dict__") and not isinstance(value, (str, int, float, bool)): return plain(vars(value))
    if isinstance(value, (list, tuple)): return [plain(v) for v in value]
    if value is pyamf.Undefined: return None
    return value
moving = sys.argv[3].split()
def same(a, b, at):
    number = lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)
    if number(a) and number(b):
        assert a == b or "*" in moving or at.rsplit(".", 1)[-1] in moving, (at, a, b)
    elif isinstance(a, dict):
        assert isinstance(b, dict) and sorted(a) == sorted(b), (at, sorted(a), sorted(b))
        for key in a: same(a[key], b[key], at + "." + key)
    elif isinstance(a, list):
        assert isinstance(b, list) and len(a) == len(b), (at, a, b)
        for n, (x, y) in enumerate(zip(a, b)): same(x, y, "%s[%d]" % (at, n))
    else:
        assert a == b and type(a) == type(b), (at, a, b)
same(plain(amf[0]), json.load(open(sys.argv[2])), "")
print("same")
"#;

fn compare(python: &Path, directory: &Path, amf: &[u8], json: &[u8], moving: &str) {
    fs::write(directory.join("answer.amf"), amf).unwrap();
    fs::write(directory.join("answer.json"), json).unwrap();
    let mut command = Command::new(python);
    command.current_dir(directory).args(["-c", COMPARE, "answer.amf", "answer.json"]);
    command.arg(moving);
    let ended = run(&mut command, SOON);
    assert!(ended.status.success() && ended.stdout.contains("same"), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn amf0_answers_say_the_same_as_json() {
    let Some(python) = tools::python_with_amf() else { return };
    let (server, live, _player) = busy();
    let _ = live.stop();
    let amf = |path: &str| {
        let answer = ask(&server.api(), "GET", path, &["Accept: application/x-amf"]);
        assert_eq!(answer.header("Content-Type"), Some("application/x-amf"), "{path}");
        answer.body
    };
    let rates = "recv_30s send_30s";
    let clients = format!("alive {rates}");
    let processes = format!("uptime_ms heartbeat_ms cpu_percent memory_bytes {rates}");
    // Nothing flows any more, and nobody comes or goes.
    wait_until("a quiet server", || {
        let look =
            || server.clients().iter().map(|client| client.send_bytes + client.recv_bytes).sum::<u64>();
        let before = look();
        server.clients().len() == 1 && before == look()
    });
    for (path, moving) in [
        ("/", ""),
        ("/api/v1", ""),
        ("/api/v1/versions", ""),
        ("/api/v1/authors", ""),
        ("/api/v1/streams", rates),
        ("/api/v1/clients", clients.as_str()),
        ("/api/v1/vhosts", rates),
        ("/api/v1/processes", &processes),
        ("/api/v1/reload", ""),
        ("/api/v1/nothing", ""),
        // Measurements, all of them.
        ("/api/v1/summaries", "*"),
        ("/api/v1/rusages", "*"),
        ("/api/v1/self_proc_stats", "*"),
        ("/api/v1/system_proc_stats", "*"),
        ("/api/v1/meminfos", "*"),
    ] {
        let json = ask(&server.api(), "GET", path, &[]).body;
        compare(&python, server.directory(), &amf(path), &json, moving);
    }
    for (what, moving) in
        [("streams", rates), ("clients", &clients), ("vhosts", rates), ("processes", &processes)]
    {
        let cli = |format: &str| {
            let mut command = Command::new(program::srs_cli());
            let output = command
                .arg("--socket")
                .arg(server.socket())
                .args(["--format", format, what])
                .output()
                .unwrap();
            assert!(output.status.success());
            output.stdout
        };
        compare(&python, server.directory(), &cli("amf0"), &cli("json"), moving);
    }
}

#[test]
fn prometheus_understands_the_metrics() {
    let (server, _live, _player) = busy();
    let answer = ask(&server.exporter(), "GET", "/metrics", &[]);
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    for name in ["srs_node_uname_info", "srs_build_info", "srs_streams"] {
        assert!((value(name) - 1.0).abs() < f64::EPSILON, "{name}");
    }
    assert!(value("srs_memory") > 0.0 && value("srs_cpu_percent") >= 0.0);
    assert!(value("srs_send_bytes_total") > 0.0 && value("srs_receive_bytes_total") > 0.0);
    assert!((value("srs_clients") - 2.0).abs() < f64::EPSILON && value("srs_clients_total") >= 2.0);
    assert!(value("srs_clients_errs_total") >= 0.0);
    let merged = text.lines().filter(|line| {
        line.starts_with("srs_") && !line.starts_with("srs_process_") && line.contains("role=")
    });
    assert_eq!(merged.count(), 0, "merged values have no process");
    for role in ["master", "backsource", "stream", "http", "api"] {
        assert!(text.contains(&format!("role=\"{role}\"")), "{role}");
    }
    assert!(
        text.contains("srs_stream_clients{app=\"live\",stream=\"livestream\",vhost=\"__defaultVhost__\"} 2")
    );
    assert_eq!(ask(&server.exporter(), "GET", "/api/v1/clients", &[]).status, 404, "it is for metrics alone");
    let Some(promtool) = tools::promtool() else { return };
    let path = server.directory().join("metrics");
    fs::write(&path, &text).unwrap();
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(fs::File::open(path).unwrap());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Its style guide would rather have no unit but base units; the exporter's own name is what dashboards know.
    let faults: Vec<&str> = said.lines().filter(|line| !line.starts_with("srs_memory ")).collect();
    assert!(faults.is_empty(), "{said}");
}

/// A reader of the statistics page as nginx-rtmp's users have them.
const READ_STAT: &str = r#"
import sys, xml.etree.ElementTree as ET
root = ET.fromstring(sys.stdin.buffer.read())
assert root.tag == "rtmp"
for name in ("nginx_version", "pid", "uptime", "naccepted", "bw_in", "bytes_in", "bw_out", "bytes_out"):
    assert root.findtext(name) is not None, name
for application in root.findall("./server/application"):
    for stream in application.findall("./live/stream"):
        active = stream.find("publishing") is not None
        viewers = [c for c in stream.findall("client") if c.find("publishing") is None]
        print(application.findtext("name"), stream.findtext("name"), active, len(viewers), stream.findtext("nclients"),
              stream.findtext("./meta/video/codec"), stream.findtext("./meta/audio/sample_rate"))
"#;

#[test]
fn scripts_for_nginx_rtmp_find_what_they_look_for() {
    if !have(&["python3", "curl"]) {
        return;
    }
    let (server, _live, _player) = busy();
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command
            .args(["-ec", script])
            .env("API", server.api())
            .env("TOKEN", server.token())
            .env("READ", READ_STAT);
        run(&mut command, SOON).expect_success()
    };
    assert_eq!(
        shell("curl -sf $API/stat | python3 -c \"$READ\"").trim(),
        "live livestream True 1 2 H264 44100"
    );
    assert!(shell("curl -sf $API/stat.json").contains("\"nclients\":2"));
    assert!(shell("curl -sf \"$API/stat?format=json\"").contains("\"nclients\":2"));
    let drop = |query: &str| {
        shell(&format!("curl -sf -H \"Authorization: Bearer $TOKEN\" \"$API/control/drop/{query}\""))
    };
    assert_eq!(drop("subscriber?app=live&name=other"), "0");
    assert_eq!(drop("subscriber?app=live&name=livestream"), "1");
    server.wait_players(0);
    assert_eq!(drop("publisher?app=live&name=livestream"), "1");
    assert_eq!(ask(&server.api(), "GET", "/control/drop/client?app=live", &[]).status, 401);
    // Who does not want it does not have it.
    let plain = Server::start("");
    assert_eq!(ask(&plain.api(), "GET", "/stat", &[]).status, 404);
}

/// Calls that users have in their scripts, and what each must print.
const CALLS: [(&str, &str); 12] = [
    ("curl -s $API/api/v1/versions | jq -r '.code'", "0"),
    (
        "curl -s $API/api/v1/versions | jq -r '.data | has(\"major\") and has(\"minor\") and has(\"revision\")'",
        "true",
    ),
    ("curl -s $API/api/v1/summaries | jq -r '.data.ok, .data.system.conn_srs'", "true\n2"),
    ("curl -s $API/api/v1/streams | jq -r '.streams[] | select(.publish.active) | .name'", "livestream"),
    ("curl -s $API/api/v1/streams | jq -r '.streams[0] | .video.codec, .audio.codec'", "H264\nAAC"),
    ("curl -s $API/api/v1/streams | jq -r '[.streams[].clients] | add'", "2"),
    ("curl -s \"$API/api/v1/streams?start=0&count=10\" | jq -r '.streams | length'", "1"),
    ("curl -s $API/api/v1/clients | jq -r '[.clients[] | select(.publish | not)] | length'", "1"),
    (
        "curl -s $API/api/v1/clients | jq -r '.clients[] | select(.url == \"/live/livestream\") | .type' | sort",
        "fmle-publish\nplay",
    ),
    (
        "curl -s $API/api/v1/vhosts | jq -r '.vhosts[0] | .name, .enabled, .streams'",
        "__defaultVhost__\ntrue\n1",
    ),
    (
        "id=$(curl -s $API/api/v1/clients | jq '.clients[] | select(.publish | not) | .id'); \
         curl -s -X DELETE -H \"Authorization: Bearer $TOKEN\" $API/api/v1/clients/$id | jq -r .code",
        "0",
    ),
    ("curl -s -H \"Authorization: Bearer $TOKEN\" \"$API/api/v1/raw?rpc=reload\" | jq -r .code", "0"),
];

#[test]
fn scripts_of_curl_and_jq_find_what_they_look_for() {
    if !have(&["curl", "jq"]) {
        return;
    }
    let (server, _live, _player) = busy();
    for (script, wanted) in CALLS {
        let mut command = Command::new("bash");
        command.args(["-ec", script]).env("API", server.api()).env("TOKEN", server.token());
        assert_eq!(run(&mut command, SOON).expect_success().trim_end(), wanted, "{script}");
    }
}

#[test]
fn examples_of_the_document_do_what_it_says() {
    if !have(&["curl", "jq"]) {
        return;
    }
    let text = fs::read_to_string(source_tree().join("docs/api.md")).unwrap();
    let examples: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("$ ")).collect();
    assert!(examples.len() >= 15, "{} examples", examples.len());
    for example in examples {
        // Each has a server of its own: some change it.
        let (server, _live, _player) = busy();
        let clients = server.clients();
        let id = clients.iter().find(|client| client.kind == "play").unwrap().id.to_string();
        let path = std::env::join_paths(
            std::iter::once(program::srs_cli().parent().unwrap().to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let attempt = || {
            let mut command = Command::new("bash");
            command.args(["-o", "pipefail", "-ec", example]).env("PATH", path.as_ref().unwrap());
            command.env("API", server.api()).env("METRICS", server.exporter()).env("TOKEN", server.token());
            command
                .env("ID", &id)
                .env("STREAM", server.streams()[0].id.to_string())
                .env("SRS_SOCKET", server.socket());
            run(&mut command, SOON)
        };
        let mut ended = attempt();
        if example.contains("hls") || example.contains("dvr") {
            // The http process has heard of the stream a moment later.
            wait_until(example, || {
                ended = attempt();
                ended.status.success() && !ended.stdout.is_empty()
            });
        }
        assert!(
            ended.status.success() && !ended.stdout.is_empty(),
            "{example}\n{}{}",
            ended.stdout,
            ended.stderr
        );
        assert!(!ended.stdout.contains("\"code\":3011"), "{example}\n{}", ended.stdout);
    }
}

#[test]
fn vhosts_are_servers_of_nginx_and_its_scripts_may_be_let_in() {
    let api = |more: &str| {
        format!(
            "http_api {{ enabled on; listen 127.0.0.1:0; nginx_rtmp on; {more} }}\nvhost __defaultVhost__ {{ }}\nvhost two.example {{ }}"
        )
    };
    let server = Server::start(&api("nginx_control loopback;"));
    let one = Raw::publishing(server.address(), "live", "same");
    let two = Raw::publishing(server.address(), "live", "same?vhost=two.example");
    wait_until("both", || server.streams().iter().filter(|stream| stream.publish.active).count() == 2);
    let get = |path: &str, headers: &[&str]| {
        let headers = [headers, &["Connection: close"]].concat();
        ask(&server.api(), "GET", path, &headers)
    };
    let stat = get("/stat.json", &[]).json();
    let names: Vec<_> =
        stat["servers"].as_array().unwrap().iter().map(|server| server["name"].clone()).collect();
    assert_eq!(names, ["__defaultVhost__", "two.example"]);
    for server in stat["servers"].as_array().unwrap() {
        assert_eq!(server["applications"][0]["live"]["streams"].as_array().unwrap().len(), 1);
    }
    let xml = String::from_utf8(get("/stat", &[]).body).unwrap();
    assert_eq!(xml.matches("<server><name>").count(), 2, "{xml}");
    // A script is let in, a page and what a proxy passes on are not.
    let drop_two = "/control/drop/publisher?app=live&name=same&srv=1";
    for header in ["Sec-Fetch-Site: cross-site", "Referer: http://page/", "X-Forwarded-For: 1.2.3.4"] {
        assert_eq!(get(drop_two, &[header]).status, 401, "{header}");
    }
    assert_eq!(get(drop_two, &[]).body, b"1");
    wait_until("one to be left", || {
        server.streams().iter().filter(|stream| stream.publish.active).count() == 1
    });
    assert!(
        server.streams().iter().any(|stream| stream.vhost == "__defaultVhost__" && stream.publish.active)
    );
    assert_eq!(get("/control/drop/publisher?app=live&vhost=__defaultVhost__", &[]).body, b"1");
    drop((one, two));
    let closed = Server::start(&api(""));
    let refused = ask(&closed.api(), "GET", drop_two, &["Connection: close"]);
    assert_eq!(refused.status, 401);
}

#[test]
fn what_later_versions_answer_is_answered() {
    let server = Server::start(
        "http_api { enabled on; listen 127.0.0.1:0; ids strings; raw_api { enabled on; } auth { enabled on; username u; password SECRET; } }",
    );
    let token = format!("Authorization: Bearer {}", server.token());
    let get = |path: &str| {
        let answer = ask(&server.api(), "GET", path, &[&token, "Connection: close"]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("SECRET"), "{path}");
        answer.json()
    };
    let _publisher = Raw::publishing(server.address(), "live", "strings");
    wait_until("the stream", || {
        get("/api/v1/streams")["streams"].as_array().is_some_and(|all| !all.is_empty())
    });
    let stream = get("/api/v1/streams")["streams"][0].clone();
    let id = stream["id"].as_str().unwrap().to_owned();
    assert!(stream["publish"]["cid"].is_string(), "{stream}");
    assert_eq!(get(&format!("/api/v1/streams/{id}"))["stream"]["name"], "strings");
    let client = get("/api/v1/clients")["clients"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(get(&format!("/api/v1/clients/{client}"))["client"]["publish"], true);
    assert_eq!(get("/api/v1/features")["data"]["features"]["hls"], true);
    assert_eq!(get("/api/v1/clusters?app=live&stream=s")["data"]["query"]["app"], "live");
    assert_eq!(get("/api/v1/raw?rpc=raw")["http_api"]["raw_api"]["enabled"], true);
    assert_eq!(get("/api/v1/raw?rpc=query&scope=global")["global"]["vhosts"][0]["id"], "__defaultVhost__");
    assert_eq!(get("/api/v1/raw?rpc=query&scope=vhost&vhost=__defaultVhost__")["vhost"]["enabled"], true);
    assert_eq!(get("/api/v1/reload")["reload"]["generation"], 1);
    let argv = get("/api/v1/summaries")["data"]["self"]["argv"].as_str().unwrap().to_owned();
    assert!(argv.contains("-c ") && argv.contains("srs.conf"), "{argv}");
}

#[test]
fn the_web_server_has_a_picture_and_a_page_for_what_is_not_there() {
    let server = Server::start("http_server { enabled on; listen 127.0.0.1:0; }");
    let get = |path: &str| ask(&server.web(), "GET", path, &["Connection: close"]);
    let icon = get("/favicon.ico");
    assert_eq!((icon.status, icon.header("Content-Type")), (200, Some("image/svg+xml")));
    let nothing = get("/nothing.html");
    assert_eq!(nothing.status, 404);
    assert!(String::from_utf8_lossy(&nothing.body).contains("<h1>404 Not Found</h1>"));
}

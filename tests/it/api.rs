//! The management API: what it answers, and to whom.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use srs_tests::capture::{player, publisher};
use srs_tests::clip::Clip;
use srs_tests::http::ask;
use srs_tests::meter::Meter;
use srs_tests::pattern;
use srs_tests::raw::{Ending, Raw};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for, wait_until};

/// One publisher and two players.
fn busy() -> (Server, pattern::Live, Vec<client::Player>) {
    let server = Server::start("http_api { enabled on; listen 127.0.0.1:0; nginx_rtmp on; }\n");
    let live = pattern::Live::start(&server.url("live/one"), Duration::from_millis(10));
    server.wait_published("live/one");
    let players = (0..2).map(|_| player(&server.url("live/one"))).collect();
    server.wait_players(2);
    (server, live, players)
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// All of these names, and none that is missing.
fn assert_has(value: &Value, names: &str) {
    let known = keys(value);
    for name in names.split_whitespace() {
        assert!(known.contains(name), "no {name} in {value}");
    }
}

#[test]
fn every_field_that_users_know_is_there() {
    let (server, _live, _players) = busy();
    let get = |path: &str| {
        let answer = ask(&server.api(), "GET", path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("Content-Type"), Some("application/json;charset=utf-8"));
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        let json = answer.json();
        assert_eq!(json["code"], 0, "{path}");
        json
    };
    assert_has(&get("/")["urls"], "api");
    assert_has(&get("/api")["urls"], "v1");
    assert_has(
        &get("/api/v1")["urls"],
        "versions summaries rusages self_proc_stats system_proc_stats meminfos authors requests vhosts streams \
         clients processes reload",
    );
    let version = &get("/api/v1/versions")["data"];
    assert_has(version, "major minor revision version");
    assert_ne!(version["version"], "0.0.0", "the server's, not that of a crate");
    let summaries = &get("/api/v1/summaries")["data"];
    assert_has(summaries, "ok now_ms self system");
    assert_has(&summaries["self"], "version pid ppid argv cwd mem_kbyte mem_percent cpu_percent srs_uptime");
    assert_has(
        &summaries["system"],
        "cpu_percent disk_read_KBps disk_write_KBps disk_busy_percent mem_ram_kbyte mem_ram_percent \
         mem_swap_kbyte mem_swap_percent cpus cpus_online uptime ilde_time load_1m load_5m load_15m \
         net_sample_time net_recv_bytes net_send_bytes srs_sample_time srs_recv_bytes srs_recv_kbps \
         srs_send_bytes srs_send_kbps conn_sys conn_sys_et conn_sys_tw conn_sys_udp conn_srs",
    );
    assert_eq!(summaries["self"]["pid"], server.pid());
    assert_eq!(summaries["system"]["conn_srs"], 3);
    assert_has(
        &get("/api/v1/rusages")["data"],
        "ok sample_time ru_utime ru_stime ru_maxrss ru_ixrss ru_idrss ru_isrss ru_minflt ru_majflt ru_nswap \
         ru_inblock ru_oublock ru_msgsnd ru_msgrcv ru_nsignals ru_nvcsw ru_nivcsw",
    );
    assert_has(
        &get("/api/v1/self_proc_stats")["data"],
        "ok sample_time percent pid comm state ppid pgrp session tty_nr tpgid flags minflt cminflt majflt cmajflt \
         utime stime cutime cstime priority nice num_threads itrealvalue starttime vsize rss rsslim startcode \
         endcode startstack kstkesp kstkeip signal blocked sigignore sigcatch wchan nswap cnswap exit_signal \
         processor rt_priority policy delayacct_blkio_ticks guest_time cguest_time",
    );
    assert_has(
        &get("/api/v1/system_proc_stats")["data"],
        "ok sample_time percent user nice sys idle iowait irq softirq steal guest",
    );
    let memory = &get("/api/v1/meminfos")["data"];
    assert_has(
        memory,
        "ok sample_time percent_ram percent_swap MemActive RealInUse NotInUse MemTotal MemFree Buffers Cached \
         SwapTotal SwapFree",
    );
    let number = |name: &str| memory[name].as_u64().unwrap();
    assert_eq!(number("NotInUse"), number("MemTotal") - number("RealInUse"));
    assert_has(&get("/api/v1/authors")["data"], "primary authors contributors_link contributors");
    let request = &get("/api/v1/requests?a=b")["data"];
    assert_has(request, "uri path METHOD headers server");
    assert_eq!(
        (&request["uri"], &request["path"]),
        (&Value::from("/api/v1/requests?a=b"), &Value::from("/api/v1/requests"))
    );
    assert_has(&request["server"], "sigature name version link time");
    let vhost = &get("/api/v1/vhosts")["vhosts"][0];
    assert_has(vhost, "id name enabled clients streams send_bytes recv_bytes kbps hls");
    assert_eq!((vhost["clients"].as_u64(), vhost["streams"].as_u64()), (Some(3), Some(1)));
    assert_eq!(get("/api/v1/vhosts/__defaultVhost__")["vhost"]["name"], "__defaultVhost__");
    let stream = get("/api/v1/streams")["streams"][0].clone();
    assert_has(
        &stream,
        "id name vhost app tcUrl url live_ms clients frames send_bytes recv_bytes kbps publish video audio",
    );
    assert_has(&stream["kbps"], "recv_30s send_30s");
    assert_has(&stream["publish"], "active cid");
    assert_has(&stream["video"], "codec profile level width height");
    assert_has(&stream["audio"], "codec sample_rate channel profile");
    assert_eq!((stream["url"].as_str(), stream["clients"].as_u64()), (Some("/live/one"), Some(3)));
    assert!(stream["tcUrl"].as_str().unwrap().starts_with("rtmp://127.0.0.1"), "{stream}");
    assert_eq!(get(&format!("/api/v1/streams/{}", stream["id"]))["stream"]["name"], "one");
    let clients = get("/api/v1/clients")["clients"].clone();
    for client in clients.as_array().unwrap() {
        assert_has(
            client,
            "id vhost stream ip pageUrl swfUrl tcUrl url name type publish alive send_bytes recv_bytes kbps",
        );
        assert_eq!((client["url"].as_str(), client["name"].as_str()), (Some("/live/one"), Some("one")));
        let one = get(&format!("/api/v1/clients/{}", client["id"]));
        assert_eq!(one["client"]["id"], client["id"]);
    }
    assert!(clients.as_array().unwrap().iter().any(|client| client["id"] == stream["publish"]["cid"]));
    // Pages of a list.
    assert_eq!(get("/api/v1/clients?start=1&count=1")["clients"].as_array().unwrap().len(), 1);
    assert_eq!(get("/api/v1/clients?start=1&count=1")["clients"][0]["id"], clients[1]["id"]);
    assert_eq!(get("/api/v1/clients?start=7")["clients"].as_array().unwrap().len(), 0);
    let process = &get("/api/v1/processes")["processes"][1];
    assert_has(
        process,
        "role slot pid generation state restarts private_api_port answered uptime_ms heartbeat_ms",
    );
    // Rates show within seconds.
    wait_until("rates", || {
        let stream = &get("/api/v1/streams")["streams"][0]["kbps"];
        stream["recv_30s"].as_u64() > Some(0) && stream["send_30s"].as_u64() > stream["recv_30s"].as_u64()
    });
    for path in
        ["/foo", "/api/v1/foo", "/api/v1/streams/999999", "/api/v1/vhosts/nobody", "/api/v1/clients/x"]
    {
        let answer = ask(&server.api(), "GET", path, &[]);
        assert_eq!((answer.status, answer.json()["code"].as_u64()), (404, Some(3011)), "{path}");
        assert_eq!(answer.json()["data"]["url"], path);
    }
}

#[test]
fn what_a_real_encoder_sends_is_described_as_ffprobe_sees_it() {
    if !srs_tests::program::have(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let server = Server::start("");
    let clip = Clip::H264Aac.path();
    let _encoder = srs_tests::capture::ffmpeg_publish(&clip, &server.url("live/real"), true);
    let stream = wait_for("the stream's headers", SOON, || {
        server.streams().into_iter().find(|stream| stream.video.is_some() && stream.audio.is_some())
    });
    let probe = |entries: &str, track: &str| {
        let mut command = std::process::Command::new("ffprobe");
        command.args(["-v", "error", "-select_streams", track, "-of", "json", "-show_entries"]);
        command.arg(format!("stream={entries}")).arg(&clip);
        let text = srs_tests::process::run(&mut command, SOON).expect_success();
        serde_json::from_str::<Value>(&text).unwrap()["streams"][0].clone()
    };
    let (video, wanted) = (stream.video.unwrap(), probe("profile,level,width,height", "v:0"));
    assert_eq!(
        (Value::from(video.width), Value::from(video.height)),
        (wanted["width"].clone(), wanted["height"].clone())
    );
    assert_eq!(Value::from(video.profile), wanted["profile"]);
    let level = wanted["level"].as_u64().unwrap();
    assert_eq!(video.level, format!("{}.{}", level / 10, level % 10));
    let (audio, wanted) = (stream.audio.unwrap(), probe("sample_rate,channels,profile", "a:0"));
    assert_eq!(Value::from(audio.sample_rate.to_string()), wanted["sample_rate"]);
    assert_eq!(
        (Value::from(audio.channel), Value::from(audio.profile)),
        (wanted["channels"].clone(), wanted["profile"].clone())
    );
}

#[test]
fn a_kick_closes_one_connection_and_needs_the_token() {
    let (server, live, _players) = busy();
    let (mut victim, _) = Raw::playing(server.address(), "live", "one");
    server.wait_players(3);
    let newest = || {
        server
            .clients()
            .iter()
            .filter(|client| client.kind == "play")
            .map(|client| client.id)
            .collect::<BTreeSet<_>>()
    };
    let before = newest();
    let id = *before.last().unwrap();
    // The newest viewer is not always that of the largest number: each process has numbers of its own.
    let path = |id: u64| format!("/api/v1/clients/{id}");
    assert_eq!(ask(&server.api(), "DELETE", &path(id), &[]).status, 401);
    assert_eq!(ask(&server.api(), "DELETE", &path(id), &["Authorization: Bearer wrong"]).status, 401);
    assert_eq!(newest(), before, "nobody is kicked without the token");
    let token = format!("Authorization: Bearer {}", server.token());
    for id in &before {
        let answer = ask(&server.api(), "DELETE", &path(*id), &[&token]);
        assert_eq!((answer.status, answer.json()["code"].as_u64()), (200, Some(0)));
    }
    assert_eq!(victim.ending(SOON), Ending::Closed);
    server.wait_players(0);
    let gone = ask(&server.api(), "DELETE", &path(id), &[&token]);
    assert_eq!((gone.status, gone.json()["code"].as_u64()), (404, Some(2049)));
    assert!(live.is_running(), "the publisher is not touched");
    // A publisher lives in another process.
    let publisher = server.streams()[0].publish.cid;
    assert_eq!(ask(&server.api(), "DELETE", &path(publisher), &[&token]).status, 200);
    wait_until("the end of the publish", || !server.streams().iter().any(|stream| stream.publish.active));
}

#[test]
fn a_reload_and_a_drain_by_http() {
    let server = Server::start(
        "http_api { enabled on; listen 127.0.0.1:0; raw_api { enabled on; allow_reload on; } }\nworkers 2;\n",
    );
    let token = format!("Authorization: Bearer {}", server.token());
    assert_eq!(ask(&server.api(), "GET", "/api/v1/raw?rpc=reload", &[]).status, 401);
    let answer = ask(&server.api(), "GET", "/api/v1/raw?rpc=reload", &[&token]);
    assert_eq!((answer.status, answer.json()["code"].as_u64()), (200, Some(0)));
    let answer = ask(&server.api(), "POST", "/api/v1/reload?dry_run=1", &[&token]);
    assert!(answer.json()["reload"]["changes"].as_array().unwrap().is_empty());
    let before = server.pids("stream");
    let answer = ask(&server.api(), "POST", "/api/v1/processes/stream/0/drain", &[&token]);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    wait_until("a process in its place", || {
        let now = server.pids("stream");
        now.len() == 2 && !now.contains(&before[0]) && now.contains(&before[1])
    });
    for process in ["stream/7", "backsource/0", "master/0"] {
        let path = format!("/api/v1/processes/{process}/drain");
        assert_eq!(ask(&server.api(), "POST", &path, &[&token]).status, 409, "{process}");
    }
    let server = Server::start("");
    let token = format!("Authorization: Bearer {}", server.token());
    assert_eq!(ask(&server.api(), "GET", "/api/v1/raw?rpc=reload", &[&token]).status, 403, "it is off");
}

#[test]
fn names_and_passwords_are_asked_for_where_the_configuration_says_so() {
    let server = Server::start(
        "http_api { enabled on; listen 127.0.0.1:0; auth { enabled on; username admin; password secret; } }\n",
    );
    let url = server.api();
    let status = |headers: &[&str]| ask(&url, "GET", "/api/v1/versions", headers).status;
    let denied = ask(&url, "GET", "/api/v1/versions", &[]);
    assert_eq!((denied.status, denied.header("WWW-Authenticate")), (401, Some("Basic realm=\"SRS\"")));
    assert_eq!(status(&["Authorization: Basic YWRtaW46c2VjcmV0"]), 200);
    assert_eq!(status(&["Authorization: Basic YWRtaW46d3Jvbmc="]), 401);
    assert_eq!(status(&[&format!("Authorization: Bearer {}", server.token())]), 200);
    // A password reads; it changes nothing.
    let change = ask(&url, "POST", "/api/v1/reload", &["Authorization: Basic YWRtaW46c2VjcmV0"]);
    assert_eq!(change.status, 401);
}

#[test]
fn a_stranger_at_an_open_address_reads_only_with_the_token() {
    // All addresses of this host are its own; one that is not loopback stands for a stranger's.
    let Some(own) = own_address() else {
        srs_tests::skipped!("this host has no address but loopback");
        return;
    };
    for (reads, wanted) in [("", 401), ("reads all;", 200)] {
        let server = Server::start(&format!("http_api {{ enabled on; listen {own}:0; {reads} }}\n"));
        assert_eq!(ask(&server.api(), "GET", "/api/v1/versions", &[]).status, wanted, "{reads}");
        let token = format!("Authorization: Bearer {}", server.token());
        assert_eq!(ask(&server.api(), "GET", "/api/v1/versions", &[&token]).status, 200);
    }
}

/// An IPv4 address of this host that is not loopback: the one from which it would speak to others.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: a connected UDP socket only chooses its own address.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

#[test]
fn private_ports_answer_nobody_without_the_token() {
    let server = Server::start("");
    let token = api::Token::read(&server.token()).unwrap();
    for process in server.processes().iter().filter(|process| process.private_api_port != 0) {
        let url = format!("http://127.0.0.1:{}", process.private_api_port);
        for headers in [vec![], vec!["Authorization: Bearer "], vec!["Authorization: Basic eA=="]] {
            assert_eq!(
                ask(&url, "GET", "/api/v1/report", &[&["Connection: close"], &headers[..]].concat()).status,
                401
            );
        }
        // The server's token opens none of them: each has a key of its own, made of it.
        let bearer = |token: &api::Token| format!("Authorization: Bearer {}", token.reveal());
        assert_eq!(ask(&url, "GET", "/api/v1/report", &["Connection: close", &bearer(&token)]).status, 401);
        let key = bearer(&token.of_process(&process.role, process.slot));
        let answer = ask(&url, "GET", "/api/v1/report", &["Connection: close", &key]);
        assert_eq!(answer.json()["process"], process.name());
    }
}

#[test]
fn the_token_and_the_control_socket_are_for_the_servers_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start("");
    for path in
        [server.directory().join("run/token"), server.socket(), server.directory().join("run/api.sock")]
    {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(server.token().len(), 64);
    assert!(!server.log().contains(&server.token()), "the token is in no log");
}

#[test]
fn a_publisher_is_a_client_like_any_other_while_it_plays() {
    let server = Server::start("");
    let mut publisher = publisher(&server.url("live/one"));
    pattern::send_headers(&mut publisher);
    server.wait_published("live/one");
    let (sent, id) = (publisher.bytes_sent(), server.streams()[0].publish.cid);
    let client = server.clients().into_iter().find(|client| client.id == id).unwrap();
    assert!(client.publish && client.recv_bytes >= sent, "{client:?} {sent}");
}

#[test]
fn viewers_over_http_are_counted_and_kicked_like_others() {
    let server = Server::start(
        "http_api { enabled on; listen 127.0.0.1:0; }\nhttp_server { enabled on; listen 127.0.0.1:0; }\n\
         vhost __defaultVhost__ { http_remux { enabled on; } }",
    );
    let _live = pattern::Live::start(&server.url("live/one"), Duration::from_millis(10));
    server.wait_published("live/one");
    let meter = Meter::before(server.web_address());
    let mut socket = TcpStream::connect(meter.address()).unwrap();
    socket.write_all(b"GET /live/one.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let reader = std::thread::spawn(move || drop(socket.read_to_end(&mut Vec::new())));
    let viewer = || server.clients().into_iter().find(|client| client.kind == "flv-play");
    wait_until("a viewer with rates", || {
        viewer().is_some_and(|client| client.send_bytes > 100_000 && client.kbps.send_30s > 0)
    });
    let client = viewer().unwrap();
    assert_eq!((client.url.as_str(), client.name.as_str()), ("/live/one", "one"));
    let stream = server.streams().remove(0);
    assert_eq!(stream.clients, 2);
    assert!(stream.send_bytes > 100_000, "its bytes are the stream's");
    let token = format!("Authorization: Bearer {}", server.token());
    let path = format!("/api/v1/clients/{}", client.id);
    assert_eq!(ask(&server.api(), "DELETE", &path, &[&token]).status, 200);
    reader.join().unwrap();
    wait_until("its end", || viewer().is_none());
    let (sent, counted) = (server.streams().remove(0).send_bytes, meter.from_server());
    assert!(sent.abs_diff(counted) < 1_000, "{sent} to its viewer, {counted} on the line");
}

#[test]
fn doors_open_move_and_close_with_a_reload() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().to_owned();
    let text = |doors: &str| srs_tests::server::configuration(&path, doors);
    let (plain, both) = (
        text("http_api { enabled on; listen 127.0.0.1:0; }\n"),
        text(
            "http_api { enabled on; listen 127.0.0.1:0; jsonp on; }\nexporter { enabled on; listen 127.0.0.1:0; }\n",
        ),
    );
    let server = Server::start_in(directory, &plain);
    let reload = |text: &str| {
        std::fs::write(path.join("srs.conf"), text).unwrap();
        let token = format!("Authorization: Bearer {}", server.token());
        let answer = ask(&server.api(), "POST", "/api/v1/reload", &[&token]);
        assert_eq!(answer.json()["code"], 0, "{}", String::from_utf8_lossy(&answer.body));
    };
    let ports = || -> Value {
        serde_json::from_str(&std::fs::read_to_string(path.join("run/ports.json")).unwrap()).unwrap()
    };
    assert!(ports()["exporter"].is_null());
    reload(&both);
    let metrics = format!("http://{}", ports()["exporter"].as_str().unwrap());
    assert_eq!(ask(&metrics, "GET", "/metrics", &[]).status, 200);
    assert_eq!(ask(&server.api(), "GET", "/api/v1/versions?callback=f", &[]).body[0], b'/');
    // Without it again, nobody listens there.
    reload(&plain);
    wait_until("a closed door", || TcpStream::connect(srs_tests::http::address(&metrics)).is_err());
    // The API itself may be switched off; the master still hears.
    reload(&text("http_api { enabled off; }\n"));
    wait_until("no API", || TcpStream::connect(srs_tests::http::address(&server.api())).is_err());
}

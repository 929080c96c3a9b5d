//! The statistics page and the control paths of nginx-rtmp, for those who come from there with their scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use api::{Client, Merged, Process, Stream};
use serde_json::{Value, json};

use super::reply::{self, Reply, query};
use super::{Known, gather};

/// Streams by application, and those by vhost: each vhost is what nginx-rtmp calls a server. There is one at least.
fn servers(merged: &Merged) -> BTreeMap<&str, BTreeMap<&str, Vec<&Stream>>> {
    let mut servers: BTreeMap<&str, BTreeMap<&str, Vec<&Stream>>> = BTreeMap::new();
    for stream in &merged.streams {
        servers.entry(&stream.vhost).or_default().entry(&stream.app).or_default().push(stream);
    }
    if servers.is_empty() {
        servers.insert("__defaultVhost__", BTreeMap::new());
    }
    servers
}

fn clients_of<'m>(merged: &'m Merged, stream: &'m Stream) -> impl Iterator<Item = &'m Client> {
    merged.clients.iter().filter(|client| client.vhost == stream.vhost && client.url == stream.url)
}

/// Bits a second, as it counts them.
fn bandwidth(kbps: u64) -> u64 {
    kbps.saturating_mul(1000)
}

fn alive_ms(client: &Client) -> u64 {
    let alive = std::time::Duration::try_from_secs_f64(client.alive).unwrap_or_default();
    u64::try_from(alive.as_millis()).unwrap_or(u64::MAX)
}

/// What XML would take for something else; what it can't hold at all is left out.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

fn element(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(out, "<{name}>{}</{name}>", xml(&value.to_string()));
}

/// `/stat`
pub(crate) fn stat_xml(known: &Known, merged: &Merged) -> Reply {
    let (processes, totals) = known.census();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n<rtmp>");
    for name in ["srs_version", "nginx_version", "nginx_rtmp_version"] {
        element(&mut out, name, &known.version);
    }
    element(&mut out, "pid", processes.first().map_or(0, |master| master.pid));
    element(&mut out, "uptime", processes.first().map_or(0, |master| master.uptime_ms / 1000));
    element(&mut out, "naccepted", totals.accepted);
    element(&mut out, "bw_in", bandwidth(totals.kbps.recv_30s));
    element(&mut out, "bytes_in", totals.recv_bytes);
    element(&mut out, "bw_out", bandwidth(totals.kbps.send_30s));
    element(&mut out, "bytes_out", totals.send_bytes);
    for (vhost, applications) in servers(merged) {
        out.push_str("<server>");
        element(&mut out, "name", vhost);
        for (name, streams) in applications {
            out.push_str("<application>");
            element(&mut out, "name", name);
            out.push_str("<live>");
            let mut count = 0;
            for stream in streams {
                count += stream.clients;
                stream_xml(&mut out, merged, stream);
            }
            element(&mut out, "nclients", count);
            out.push_str("</live></application>");
        }
        out.push_str("</server>");
    }
    out.push_str("</rtmp>\n");
    reply::text(200, "text/xml;charset=utf-8", &out)
}

fn stream_xml(out: &mut String, merged: &Merged, stream: &Stream) {
    out.push_str("<stream>");
    element(out, "name", &stream.name);
    element(out, "time", stream.live_ms);
    element(out, "bw_in", bandwidth(stream.kbps.recv_30s));
    element(out, "bytes_in", stream.recv_bytes);
    element(out, "bw_out", bandwidth(stream.kbps.send_30s));
    element(out, "bytes_out", stream.send_bytes);
    for client in clients_of(merged, stream) {
        out.push_str("<client>");
        element(out, "id", client.id);
        element(out, "address", &client.ip);
        element(out, "time", alive_ms(client));
        element(out, "pageurl", &client.page_url);
        element(out, "swfurl", &client.swf_url);
        element(out, "dropped", client.dropped);
        out.push_str(if client.publish { "<publishing/><active/>" } else { "<active/>" });
        out.push_str("</client>");
    }
    out.push_str("<meta>");
    if let Some(video) = &stream.video {
        out.push_str("<video>");
        element(out, "width", video.width);
        element(out, "height", video.height);
        element(out, "codec", &video.codec);
        element(out, "profile", &video.profile);
        element(out, "level", &video.level);
        out.push_str("</video>");
    }
    if let Some(audio) = &stream.audio {
        out.push_str("<audio>");
        element(out, "codec", &audio.codec);
        element(out, "profile", &audio.profile);
        element(out, "channels", audio.channel);
        element(out, "sample_rate", audio.sample_rate);
        out.push_str("</audio>");
    }
    out.push_str("</meta>");
    element(out, "nclients", stream.clients);
    if stream.publish.active {
        out.push_str("<publishing/><active/>");
    }
    out.push_str("</stream>");
}

/// `/stat.json`
pub(crate) fn stat_json(known: &Known, merged: &Merged) -> Reply {
    let (processes, totals) = known.census();
    let application = |(name, streams): (&str, Vec<&Stream>)| {
        let count: u64 = streams.iter().map(|stream| stream.clients).sum();
        let streams: Vec<Value> = streams.iter().map(|stream| stream_json(merged, stream)).collect();
        json!({"name": name, "live": {"streams": streams, "nclients": count}})
    };
    let server = |(vhost, applications): (&str, BTreeMap<&str, Vec<&Stream>>)| {
        let applications: Vec<Value> = applications.into_iter().map(application).collect();
        json!({"name": vhost, "applications": applications})
    };
    let servers: Vec<Value> = servers(merged).into_iter().map(server).collect();
    let body = json!({
        "srs_version": known.version, "nginx_version": known.version, "nginx_rtmp_version": known.version,
        "pid": processes.first().map_or(0, |master| master.pid),
        "uptime": processes.first().map_or(0, |master| master.uptime_ms / 1000),
        "naccepted": totals.accepted,
        "bw_in": bandwidth(totals.kbps.recv_30s),
        "bytes_in": totals.recv_bytes,
        "bw_out": bandwidth(totals.kbps.send_30s),
        "bytes_out": totals.send_bytes,
        "servers": servers,
    });
    reply::text(200, "application/json;charset=utf-8", &body.to_string())
}

fn stream_json(merged: &Merged, stream: &Stream) -> Value {
    let clients: Vec<Value> = clients_of(merged, stream)
        .map(|client| {
            json!({
                "id": client.id, "address": client.ip, "time": alive_ms(client), "pageurl": client.page_url,
                "swfurl": client.swf_url, "dropped": client.dropped, "publishing": client.publish, "active": true,
            })
        })
        .collect();
    json!({
        "name": stream.name, "time": stream.live_ms,
        "bw_in": bandwidth(stream.kbps.recv_30s), "bytes_in": stream.recv_bytes,
        "bw_out": bandwidth(stream.kbps.send_30s), "bytes_out": stream.send_bytes,
        "clients": clients, "meta": {"video": stream.video, "audio": stream.audio},
        "nclients": stream.clients, "publishing": stream.publish.active, "active": stream.publish.active,
    })
}

/// `/control/drop/publisher`, `subscriber` and `client`: closes those that the query names, and says how many.
pub(crate) fn drop(known: &Known, processes: &[Process], whom: &str, url: &str, merged: &Merged) -> Reply {
    let wanted = |client: &Client| match whom {
        "publisher" => client.publish,
        "subscriber" => client.kind == "play",
        _ => true,
    };
    if !matches!(whom, "publisher" | "subscriber" | "client") {
        return reply::text(404, "text/plain;charset=utf-8", "0");
    }
    let [app, name, address, id] = ["app", "name", "addr", "clientid"].map(|name| query(url, name));
    let Some(app) = app else { return reply::text(400, "text/plain;charset=utf-8", "which app?\n") };
    // Of all vhosts, unless one is said: by its name, or by its place among the servers of /stat.
    let by_place = query(url, "srv").and_then(|place| place.parse::<usize>().ok());
    let by_place =
        by_place.map(|place| servers(merged).keys().nth(place).map_or("", |vhost| *vhost).to_owned());
    let vhost = query(url, "vhost").or(by_place);
    let is = |client: &&Client| {
        let (client_app, client_name) = client.stream.rsplit_once('/').unwrap_or(("", ""));
        wanted(client)
            && vhost.as_ref().is_none_or(|vhost| *vhost == client.vhost)
            && client_app == app
            && name.as_ref().is_none_or(|name| name == client_name)
            && address.as_ref().is_none_or(|address| same_address(address, &client.ip))
            && id.as_ref().is_none_or(|id| *id == client.id.to_string())
    };
    let dropped = merged
        .clients
        .iter()
        .filter(is)
        .filter(|client| gather::kick(processes, &known.token.get(), client.id) == Some(true))
        .count();
    reply::text(200, "text/plain;charset=utf-8", &dropped.to_string())
}

fn same_address(said: &str, ip: &str) -> bool {
    match (said.parse::<IpAddr>(), ip.parse::<IpAddr>()) {
        (Ok(said), Ok(ip)) => said.to_canonical() == ip.to_canonical(),
        _ => said == ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_strangers_stay_text() {
        assert_eq!(
            xml("<a href=\"x\">&'\u{1b}\u{0}\r\n</a>"),
            "&lt;a href=&quot;x&quot;&gt;&amp;&apos;&lt;/a&gt;"
        );
        assert!(same_address("::ffff:127.0.0.1", "127.0.0.1") && !same_address("127.0.0.2", "127.0.0.1"));
    }
}

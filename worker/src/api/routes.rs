//! The paths of the management API.

use api::{Clients, Done, Merged, Order, Processes, Reload, Streams, Vhosts};
use conf::Config;
use serde::Serialize;
use serde_json::json;
use tiny_http::{Method, Request, Response};

use super::access::{self, Refusal, Wish};
use super::reply::{self, Form, Reply, query};
use super::{Known, gather, machine_room, master, metrics, nginx};

/// Error codes that users of SRS know.
const NOT_FOUND: u32 = 3011;
const NO_SUCH_CLIENT: u32 = 2049;

/// What a route needs.
struct Asked<'a> {
    request: &'a Request,
    known: &'a Known,
    config: &'a Config,
    form: Form,
}

/// Answers a request.
pub(crate) fn answer(request: &Request, known: &Known) -> Reply {
    let config = known.config();
    let path = request.url().split(['?', '#']).next().unwrap_or("").to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if access::is_for_metrics(request, &config) {
        return match (request.method(), parts.as_slice()) {
            (Method::Get | Method::Head, ["metrics"]) => metrics::answer(known, &config),
            _ => reply::text(404, "text/plain;charset=utf-8", "the metrics are at /metrics\n"),
        };
    }
    let Some(form) = reply::form(request, config.http_api.jsonp) else {
        return error(&Form::Json, request, 400, "this is no name of a function");
    };
    let wish = match (request.method(), parts.as_slice()) {
        (Method::Options, _) => return preflight(&config),
        (Method::Get, ["api", "v1", "raw"]) => Wish::Write,
        (Method::Get, ["control", ..]) => Wish::Control,
        (Method::Get | Method::Head, _) => Wish::Read,
        (Method::Delete | Method::Post, _) => Wish::Write,
        _ => return error(&form, request, 405, "Method Not Allowed"),
    };
    let allowed = match known.failures.lock() {
        Ok(mut failures) => {
            access::check(request, wish, &config, &known.token.get(), &mut failures, reactor::now_ms())
        }
        Err(_) => Err((500, "the API is out of order")),
    };
    if let Err((status, why)) = allowed {
        return refuse(&form, request, (status, why), &config);
    }
    let asked = Asked { request, known, config: &config, form };
    let mut reply = match wish {
        Wish::Read => asked.read(&parts),
        Wish::Write | Wish::Control => asked.write(&parts),
    };
    if wish == Wish::Read && config.http_api.crossdomain {
        reply::add(&mut reply, "Access-Control-Allow-Origin", "*");
    }
    reply
}

/// Browsers ask this before they let a page of another site do more than read.
fn preflight(config: &Config) -> Reply {
    let mut reply = Response::from_data(Vec::new()).with_status_code(200);
    reply::add(&mut reply, "Allow", "DELETE, GET, HEAD, OPTIONS, POST");
    if config.http_api.crossdomain {
        reply::add(&mut reply, "Access-Control-Allow-Origin", "*");
        reply::add(&mut reply, "Access-Control-Allow-Methods", "GET, HEAD");
    }
    reply
}

fn refuse(form: &Form, request: &Request, (status, why): Refusal, config: &Config) -> Reply {
    let mut reply = error(form, request, status, why);
    if status == 401 && config.http_api.auth.is_some() {
        reply::add(&mut reply, "WWW-Authenticate", "Basic realm=\"SRS\"");
    }
    reply
}

/// The form that the reference's users know: code 3011 with the reason inside.
fn error(form: &Form, request: &Request, status: u16, reason: &str) -> Reply {
    // The query may hold secrets.
    let url = request.url().split('?').next().unwrap_or("");
    let data = json!({"status_code": status, "reason_phrase": reason, "url": url});
    reply::answer(form, status, &json!({"code": NOT_FOUND, "data": data}))
}

impl Asked<'_> {
    fn respond<T: Serialize>(&self, data: T) -> Reply {
        let server = self.config.server_id.clone().unwrap_or_else(|| std::process::id().to_string());
        if !self.config.http_api.string_ids {
            return reply::answer(&self.form, 200, &api::Answer { code: 0, server, data });
        }
        let mut data = serde_json::to_value(data).unwrap_or_default();
        ids_as_strings(&mut data);
        reply::answer(&self.form, 200, &api::Answer { code: 0, server, data })
    }

    fn data<T: Serialize>(&self, data: T) -> Reply {
        self.respond(api::Data { data })
    }

    fn not_found(&self) -> Reply {
        error(&self.form, self.request, 404, "Not Found")
    }

    fn merged(&self, with_clients: bool) -> Merged {
        let (mut processes, _) = self.known.census();
        api::merge(gather::gather(&mut processes, &self.known.token.get(), with_clients))
    }

    /// The part of a list that `start` and `count` ask for.
    fn page<T>(&self, list: Vec<T>) -> Vec<T> {
        let number = |name| query(self.request.url(), name).and_then(|value| value.parse::<usize>().ok());
        list.into_iter()
            .skip(number("start").unwrap_or(0))
            .take(number("count").unwrap_or(usize::MAX))
            .collect()
    }

    fn vhosts(&self) -> Vec<api::Vhost> {
        let known: Vec<(String, bool, bool)> = self
            .config
            .vhosts
            .iter()
            .map(|vhost| (vhost.name.clone(), vhost.enabled, vhost.hls.enabled))
            .collect();
        api::vhosts(&known, &self.merged(true))
    }

    fn read(&self, path: &[&str]) -> Reply {
        let known = self.known;
        match path {
            [] => self.respond(json!({"urls": {"api": "the api root"}})),
            ["api"] => self.respond(json!({"urls": {"v1": "the api version 1.0"}})),
            ["api", "v1"] => self
                .respond(json!({"urls": URLS.iter().copied().collect::<std::collections::BTreeMap<_, _>>()})),
            ["api", "v1", "versions"] => self.data(api::Version::parse(&known.version)),
            ["api", "v1", "summaries"] => self.data(machine_room::summaries(known)),
            ["api", "v1", "rusages"] => self.data(machine_room::rusage(known)),
            ["api", "v1", "self_proc_stats"] => self.data(machine_room::self_proc_stat(known)),
            ["api", "v1", "system_proc_stats"] => self.data(machine_room::system_proc_stat(known)),
            ["api", "v1", "meminfos"] => self.data(machine::mem_info()),
            ["api", "v1", "authors"] => self.data(api::Authors {
                primary: "the authors of SRS in Rust".to_owned(),
                authors: "the authors of SRS in Rust".to_owned(),
                license: env!("CARGO_PKG_LICENSE").to_owned(),
                contributors_link: String::new(),
                contributors: String::new(),
            }),
            ["api", "v1", "requests"] => self.data(machine_room::request(known, self.request)),
            ["api", "v1", "vhosts"] => self.respond(Vhosts { vhosts: self.page(self.vhosts()) }),
            ["api", "v1", "vhosts", id] => match self.vhosts().into_iter().find(|vhost| vhost.id == *id) {
                Some(vhost) => self.respond(json!({"vhost": vhost})),
                None => self.not_found(),
            },
            ["api", "v1", "streams"] => {
                self.respond(Streams { streams: self.page(self.merged(false).streams) })
            }
            ["api", "v1", "streams", id] => {
                let found =
                    self.merged(false).streams.into_iter().find(|stream| stream.id.to_string() == *id);
                found.map_or_else(|| self.not_found(), |stream| self.respond(json!({"stream": stream})))
            }
            ["api", "v1", "clients"] => {
                self.respond(Clients { clients: self.page(self.merged(true).clients) })
            }
            ["api", "v1", "clients", id] => {
                let found = self.merged(true).clients.into_iter().find(|client| client.id.to_string() == *id);
                found.map_or_else(|| self.not_found(), |client| self.respond(json!({"client": client})))
            }
            ["api", "v1", "processes"] => {
                let (mut processes, totals) = known.census();
                let reports = gather::gather(&mut processes, &known.token.get(), false);
                let (ended, refused) = (api::merge_ended(&reports), api::merge_refused(&reports));
                let externals = reports.into_iter().flat_map(|report| report.externals).collect();
                let log_trouble = child::log_trouble();
                self.respond(Processes { processes, totals, ended, refused, externals, log_trouble })
            }
            ["api", "v1", "hls"] => {
                let (mut processes, _) = known.census();
                let reports = gather::gather(&mut processes, &known.token.get(), false);
                let hls = reports.into_iter().flat_map(|report| report.hls).collect();
                self.respond(api::HlsList { hls: self.page(hls) })
            }
            ["api", "v1", "dvr"] => {
                let (mut processes, _) = known.census();
                let mut dvr = api::Dvr::default();
                for report in gather::gather(&mut processes, &known.token.get(), false) {
                    dvr.merge(report.dvr);
                }
                self.respond(dvr)
            }
            ["api", "v1", "reload"] => self.respond(json!({"reload": self.last_reload()})),
            ["api", "v1", "features"] => self.data(features()),
            ["api", "v1", "clusters"] => {
                let said = |name| query(self.request.url(), name).unwrap_or_default();
                let query = json!({"ip": said("ip"), "vhost": said("vhost"), "app": said("app"), "stream": said("stream")});
                // There is no cluster of origins: every stream is here or nowhere.
                self.data(json!({"query": query, "origin": serde_json::Value::Null}))
            }
            ["favicon.ico"] => {
                reply::text(404, "text/plain;charset=utf-8", "there is no picture of an API\n")
            }
            ["stat"] if self.config.http_api.nginx_rtmp => {
                if query(self.request.url(), "format").as_deref() == Some("json") {
                    nginx::stat_json(known, &self.merged(true))
                } else {
                    nginx::stat_xml(known, &self.merged(true))
                }
            }
            ["stat.json"] if self.config.http_api.nginx_rtmp => nginx::stat_json(known, &self.merged(true)),
            _ => self.not_found(),
        }
    }

    fn write(&self, path: &[&str]) -> Reply {
        match (self.request.method(), path) {
            (Method::Delete, ["api", "v1", "clients", id]) => self.kick(id),
            (Method::Post, ["api", "v1", "reload"]) => {
                let dry_run = query(self.request.url(), "dry_run").is_some_and(|value| value != "0");
                self.reload(dry_run)
            }
            (Method::Post, ["api", "v1", "dvr", order @ ("start" | "stop")]) => {
                self.record(*order == "start")
            }
            (Method::Post, ["api", "v1", "processes", role, slot, "drain"]) => {
                self.drain(format!("{role}#{slot}"))
            }
            (Method::Get, ["api", "v1", "raw"]) => {
                let raw = &self.config.http_api.raw_api;
                match query(self.request.url(), "rpc").as_deref() {
                    Some("raw") => self.respond(json!({"http_api": self.raw_api()})),
                    Some("query") if raw.enabled => self.raw_query(),
                    Some("query") => error(
                        &self.form,
                        self.request,
                        403,
                        "raw_api { enabled on; } is not in the configuration",
                    ),
                    Some("reload") if raw.enabled && raw.allow_reload => self.reload(false),
                    Some("reload") => error(
                        &self.form,
                        self.request,
                        403,
                        "raw_api { enabled on; allow_reload on; } is not in the configuration",
                    ),
                    _ => self.not_found(),
                }
            }
            (Method::Get, ["control", "drop", whom]) if self.config.http_api.nginx_rtmp => {
                let (processes, _) = self.known.census();
                nginx::drop(self.known, &processes, whom, self.request.url(), &self.merged(true))
            }
            _ => self.not_found(),
        }
    }

    /// What the raw API may do.
    fn raw_api(&self) -> serde_json::Value {
        let (api, raw) = (&self.config.http_api, &self.config.http_api.raw_api);
        json!({
            "enabled": api.enabled, "listen": api.listen.to_string(), "crossdomain": api.crossdomain,
            "raw_api": {
                "enabled": raw.enabled, "allow_reload": raw.allow_reload, "allow_query": raw.enabled, "allow_update": false,
            },
        })
    }

    /// The configuration in force, without its secrets: `scope` is `global`, `vhosts`, or `vhost` with its name as `vhost`.
    fn raw_query(&self) -> Reply {
        let config = self.config;
        let vhost = |vhost: &conf::config::Vhost| {
            json!({
                "id": vhost.name, "name": vhost.name, "enabled": vhost.enabled, "hls": {"enabled": vhost.hls.enabled},
                "dvr": {"enabled": vhost.dvr.enabled}, "http_remux": {"enabled": vhost.http_remux.enabled},
                "http_static": {"enabled": vhost.http_static.enabled}, "ingests": vhost.ingests.len(),
            })
        };
        match query(self.request.url(), "scope").as_deref().unwrap_or("global") {
            "global" | "minimal" => {
                let listen: Vec<String> =
                    config.listen.iter().map(|listen| listen.address.to_string()).collect();
                let vhosts: Vec<_> = config.vhosts.iter().map(vhost).collect();
                self.respond(json!({"global": {
                    "listen": listen, "max_connections": config.max_connections, "pid": config.pid, "chunk_size": config.chunk_size,
                    "ff_log_dir": config.ff_log_dir, "srs_log_file": config.log.file, "daemon": config.daemon,
                    "http_api": self.raw_api(), "vhosts": vhosts,
                }}))
            }
            "vhosts" => self.respond(json!({"vhosts": config.vhosts.iter().map(vhost).collect::<Vec<_>>()})),
            "vhost" => {
                let name = query(self.request.url(), "vhost").unwrap_or_default();
                match config.vhosts.iter().find(|known| known.name == name) {
                    Some(known) => self.respond(json!({"vhost": vhost(known)})),
                    None => self.not_found(),
                }
            }
            _ => error(&self.form, self.request, 400, "the scope is global, minimal, vhosts, or vhost"),
        }
    }

    /// What the last reload did. Where this process has not heard of one, it asks which configuration is in force.
    fn last_reload(&self) -> Reload {
        let mut reload = self.known.reload();
        if reload.generation == 0 {
            let census = master::order::<api::ProcessList>(&self.config.runtime_dir, &Order::Processes);
            reload.generation = census.map_or(1, |census| census.generation);
        }
        reload
    }

    fn kick(&self, id: &str) -> Reply {
        let Ok(id) = id.parse::<u64>() else { return self.not_found() };
        let (processes, _) = self.known.census();
        match gather::kick(&processes, &self.known.token.get(), id) {
            Some(true) => self.respond(api::Kicked { id, kicked: true }),
            Some(false) => {
                let data = json!({"status_code": 404, "reason_phrase": "there is no such client"});
                reply::answer(&self.form, 404, &json!({"code": NO_SUCH_CLIENT, "data": data}))
            }
            None => error(&self.form, self.request, 503, "not every process has answered"),
        }
    }

    fn record(&self, on: bool) -> Reply {
        let said = |name| query(self.request.url(), name);
        let (Some(app), Some(name)) = (said("app"), said("stream")) else {
            return error(
                &self.form,
                self.request,
                400,
                "which stream? ?app=APP&stream=NAME, and vhost=VHOST",
            );
        };
        let vhost = said("vhost").unwrap_or_else(|| "__defaultVhost__".to_owned());
        let (processes, _) = self.known.census();
        match gather::record(&processes, &self.known.token.get(), &api::Record { vhost, app, name, on }) {
            Some(api::RecordAnswer { recording, error: None }) => {
                self.respond(json!({"recording": recording}))
            }
            Some(api::RecordAnswer { error: Some(why), .. }) => error(&self.form, self.request, 409, &why),
            None => error(&self.form, self.request, 503, "the http process does not answer"),
        }
    }

    fn reload(&self, dry_run: bool) -> Reply {
        match master::order::<Reload>(&self.config.runtime_dir, &Order::Reload { dry_run }) {
            Ok(reload) => {
                let code = if reload.error.is_some() { NOT_FOUND } else { 0 };
                reply::answer(&self.form, 200, &json!({"code": code, "reload": reload}))
            }
            Err(cause) => self.master_is_silent(&cause),
        }
    }

    fn drain(&self, process: String) -> Reply {
        let said = |name| query(self.request.url(), name);
        let force = said("force").is_some_and(|value| value != "0");
        let timeout = match said("timeout").map(|seconds| seconds.parse::<u64>()) {
            None => None,
            Some(Ok(seconds)) => Some(seconds.saturating_mul(1000)),
            Some(Err(_)) => return error(&self.form, self.request, 400, "timeout is a number of seconds"),
        };
        let within_ms = if force { Some(0) } else { timeout };
        match master::order::<Done>(&self.config.runtime_dir, &Order::Drain { process, within_ms }) {
            Ok(Done { said, error: None }) => self.respond(json!({"said": said})),
            Ok(Done { error: Some(why), .. }) => error(&self.form, self.request, 409, &why),
            Err(cause) => self.master_is_silent(&cause),
        }
    }

    fn master_is_silent(&self, cause: &std::io::Error) -> Reply {
        tracing::warn!("the master does not take an order: {cause}");
        error(&self.form, self.request, 503, "the master does not answer")
    }
}

/// Ids as versions from 4 on have them.
fn ids_as_strings(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    serde_json::Value::Number(id) if matches!(name.as_str(), "id" | "cid") => {
                        *value = id.to_string().into()
                    }
                    value => ids_as_strings(value),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(ids_as_strings),
        _ => {}
    }
}

/// What this server can do, in the words of the reference: `true` for what works here.
fn features() -> serde_json::Value {
    json!({
        "options": "", "options2": "", "build": "", "build2": "",
        "features": {
            "ssl": true, "hls": true, "hds": false, "callback": false, "api": true, "httpd": true, "dvr": true,
            "transcode": false, "ingest": true, "stat": true, "caster": false, "forward": false, "srt": false,
            "rtc": false, "dash": false, "security": false,
            "complex_send": true, "tcp_nodelay": true, "so_sendbuf": true, "mr": false,
        },
    })
}

/// What is below `/api/v1`.
const URLS: [(&str, &str); 17] = [
    ("versions", "the version of this server"),
    ("summaries", "the server and the machine in short"),
    ("rusages", "what all processes have used"),
    ("self_proc_stats", "the server as the kernel sees it"),
    ("system_proc_stats", "the processors of the machine"),
    ("meminfos", "the memory of the machine"),
    ("authors", "who made it"),
    ("requests", "the request itself"),
    ("features", "what this server can do, in the words of the reference"),
    ("clusters", "where a stream is; without a cluster of origins there is no other place"),
    ("vhosts", "all vhosts, or one: vhosts/NAME"),
    ("streams", "all streams over all processes, or one: streams/ID"),
    ("clients", "all connections over all processes, or one: clients/ID; DELETE closes it"),
    ("processes", "the processes of this server; POST processes/stream/N/drain lets one end"),
    ("hls", "streams that have HLS"),
    (
        "dvr",
        "streams that are recorded, and files; POST dvr/start or dvr/stop?vhost=&app=&stream= begins or ends",
    ),
    ("reload", "what the last reload of the configuration did; POST reloads"),
];

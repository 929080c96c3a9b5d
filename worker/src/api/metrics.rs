//! Metrics for Prometheus. The names of the SRS exporter stand for the whole server, merged over all processes; what
//! concerns one process has its role, slot, pid and generation; streams that most is sent of have series of their own.

use std::collections::HashMap;

use api::{Process, Stream, Totals};
use conf::Config;
use prometheus::{Encoder, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

use super::reply::{self, Reply};
use super::{Known, gather};

/// The form of the text.
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";
const PROCESS_LABELS: [&str; 4] = ["role", "slot", "pid", "generation"];
const STREAM_LABELS: [&str; 3] = ["vhost", "app", "stream"];

/// `/metrics`
pub(crate) fn answer(known: &Known, config: &Config) -> Reply {
    let (mut processes, totals) = known.census();
    let mut streams = if config.exporter.top_streams > 0 {
        api::merge(gather::gather(&mut processes, &known.token.get(), false)).streams
    } else {
        Vec::new()
    };
    streams.sort_by_key(|stream| std::cmp::Reverse((stream.kbps.send_30s, stream.send_bytes)));
    streams.truncate(config.exporter.top_streams as usize);
    match text(known, config, &processes, totals, &streams) {
        Ok(text) => reply::text(200, KIND, &text),
        Err(error) => {
            tracing::error!("the metrics can't be written: {error}");
            reply::text(500, "text/plain;charset=utf-8", "the metrics can't be written\n")
        }
    }
}

fn text(
    known: &Known,
    config: &Config,
    processes: &[Process],
    totals: Totals,
    streams: &[Stream],
) -> prometheus::Result<String> {
    let labels = [("label", &config.exporter.label), ("tag", &config.exporter.tag)];
    let labels: HashMap<String, String> = labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    let metrics = Metrics(Registry::new_custom(None, Some(labels))?);
    metrics.whole(known, processes, totals)?;
    metrics.each_process(processes)?;
    metrics.each_stream(streams)?;
    let mut bytes = Vec::new();
    TextEncoder::new().encode(&metrics.0.gather(), &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Metrics(Registry);

impl Metrics {
    fn level(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        let vector = GaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(vector.clone()))?;
        Ok(vector)
    }

    fn count(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        let vector = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(vector.clone()))?;
        Ok(vector)
    }

    /// The names of the SRS exporter.
    fn whole(&self, known: &Known, processes: &[Process], totals: Totals) -> prometheus::Result<()> {
        let uname = nix::sys::utsname::uname().ok();
        let of = |get: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
            uname.as_ref().map_or_else(String::new, |uname| get(uname).to_string_lossy().into_owned())
        };
        let node = [
            of(nix::sys::utsname::UtsName::sysname),
            of(nix::sys::utsname::UtsName::nodename),
            of(nix::sys::utsname::UtsName::release),
            of(nix::sys::utsname::UtsName::version),
            of(nix::sys::utsname::UtsName::machine),
        ];
        self.level(
            "srs_node_uname_info",
            "The system that the server runs on.",
            &["sysname", "nodename", "release", "version", "machine"],
        )?
        .with_label_values(&node.each_ref().map(String::as_str))
        .set(1.0);
        self.level("srs_build_info", "The server's version.", &["version"])?
            .with_label_values(&[known.version.as_str()])
            .set(1.0);
        for (name, help, value) in [
            (
                "srs_cpu_percent",
                "Processor time of all processes, per cent of one processor.",
                known.cpu_percent(),
            ),
            ("srs_memory", "Resident memory of all processes in KiB.", number(memory(processes) / 1024)),
            ("srs_streams", "Streams that are published.", number(totals.streams)),
            ("srs_clients", "Client connections that are open.", number(totals.connections)),
        ] {
            self.level(name, help, &[])?.with_label_values::<&str>(&[]).set(value);
        }
        for (name, help, value) in [
            ("srs_send_bytes_total", "Bytes sent to clients.", totals.send_bytes),
            ("srs_receive_bytes_total", "Bytes received from clients.", totals.recv_bytes),
            ("srs_clients_total", "Client connections that were accepted.", totals.accepted),
            ("srs_clients_errs_total", "Client connections that ended by an error.", totals.errors),
        ] {
            self.count(name, help, &[])?.with_label_values::<&str>(&[]).inc_by(value);
        }
        Ok(())
    }

    fn each_process(&self, processes: &[Process]) -> prometheus::Result<()> {
        let level = |name, help| self.level(name, help, &PROCESS_LABELS);
        let count = |name, help| self.count(name, help, &PROCESS_LABELS);
        let up = level("srs_process_up", "Whether the process is there and shows that it lives.")?;
        let uptime = level("srs_process_uptime_seconds", "Since the process was started.")?;
        let heartbeat = level("srs_process_heartbeat_age_seconds", "Since it last showed that it lives.")?;
        let cpu = level("srs_process_cpu_percent", "Its processor time, per cent of one processor.")?;
        let memory = level("srs_process_resident_memory_bytes", "Its resident memory.")?;
        let clients = level("srs_process_clients", "Its open client connections.")?;
        let restarts = count("srs_process_restarts_total", "How often its place was filled again.")?;
        let sent = count("srs_process_send_bytes_total", "Bytes that its place has sent to clients.")?;
        let received =
            count("srs_process_receive_bytes_total", "Bytes that its place has received from clients.")?;
        for process in processes {
            let (slot, pid, generation) =
                (process.slot.to_string(), process.pid.to_string(), process.generation.to_string());
            let labels = [process.role.as_str(), &slot, &pid, &generation];
            up.with_label_values(&labels).set(if process.answered { 1.0 } else { 0.0 });
            uptime.with_label_values(&labels).set(number(process.uptime_ms) / 1000.0);
            heartbeat.with_label_values(&labels).set(number(process.heartbeat_ms) / 1000.0);
            cpu.with_label_values(&labels).set(process.cpu_percent);
            memory.with_label_values(&labels).set(number(process.memory_bytes));
            clients.with_label_values(&labels).set(number(process.connections));
            restarts.with_label_values(&labels).inc_by(process.restarts.into());
            sent.with_label_values(&labels).inc_by(process.send_bytes);
            received.with_label_values(&labels).inc_by(process.recv_bytes);
        }
        Ok(())
    }

    fn each_stream(&self, streams: &[Stream]) -> prometheus::Result<()> {
        let clients =
            self.level("srs_stream_clients", "Publisher and viewers of the stream.", &STREAM_LABELS)?;
        let sent = self.count("srs_stream_send_bytes_total", "Bytes sent to its viewers.", &STREAM_LABELS)?;
        let received = self.count(
            "srs_stream_receive_bytes_total",
            "Bytes received from its publishers.",
            &STREAM_LABELS,
        )?;
        for stream in streams {
            let labels = [stream.vhost.as_str(), &stream.app, &stream.name];
            clients.with_label_values(&labels).set(number(stream.clients));
            sent.with_label_values(&labels).inc_by(stream.send_bytes);
            received.with_label_values(&labels).inc_by(stream.recv_bytes);
        }
        Ok(())
    }
}

/// In single mode all are one process.
fn memory(processes: &[Process]) -> u64 {
    let mut counted = Vec::new();
    let mut sum = 0;
    for process in processes {
        if !counted.contains(&process.pid) {
            counted.push(process.pid);
            sum += process.memory_bytes;
        }
    }
    sum
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn number(value: u64) -> f64 {
    value as f64
}

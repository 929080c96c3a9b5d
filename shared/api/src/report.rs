//! What one process knows, and how the answers of all become one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::{Client, Stream, Vhost, Viewers};

/// What one process knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Such as `stream#1`.
    pub process: String,
    /// Process id.
    pub pid: u32,
    /// Its connections.
    #[serde(default)]
    pub clients: Vec<Client>,
    /// Streams it is the source of.
    #[serde(default)]
    pub streams: Vec<Stream>,
    /// Viewers by stream.
    #[serde(default)]
    pub viewers: Vec<Viewers>,
    /// Connections that ended, by reason.
    #[serde(default)]
    pub ended: Vec<(String, u64)>,
    /// What clients asked and were refused, by what and why, such as `publish in_use`.
    #[serde(default)]
    pub refused: Vec<(String, u64)>,
    /// Clients that wait for an answer.
    #[serde(default)]
    pub undecided: u64,
    /// Answers that came too late, twice, or for clients that had left.
    #[serde(default)]
    pub unclaimed_answers: u64,
    /// Streams that have viewers, and that nobody publishes or published when they came.
    #[serde(default)]
    pub wanted: Vec<crate::Wanted>,
    /// Wishes for streams that were beyond the bounds.
    #[serde(default)]
    pub wanted_refused: u64,
    /// Programs of others that it runs.
    #[serde(default)]
    pub externals: Vec<crate::External>,
    /// HLS that it makes.
    #[serde(default)]
    pub hls: Vec<crate::Hls>,
    /// What it records.
    #[serde(default)]
    pub dvr: crate::Dvr,
}

/// The whole server, merged from the reports of its processes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Merged {
    /// All client connections, by id.
    pub clients: Vec<Client>,
    /// All streams, by name.
    pub streams: Vec<Stream>,
}

/// Merges the reports of all processes: viewers are added to their streams.
#[must_use]
pub fn merge(reports: Vec<Report>) -> Merged {
    let mut merged = Merged::default();
    let mut viewers: HashMap<(String, String, String), u64> = HashMap::new();
    let mut left_out: HashMap<(String, String, String), BTreeSet<String>> = HashMap::new();
    let mut note = |key: (&String, &String, &String), output: &str, what: Vec<String>| {
        if !what.is_empty() {
            let key = (key.0.clone(), key.1.clone(), key.2.clone());
            left_out.entry(key).or_default().extend(what.iter().map(|what| format!("{output}{what}")));
        }
    };
    for report in reports {
        for hls in report.hls {
            note((&hls.vhost, &hls.app, &hls.name), "HLS: ", hls.left_out);
        }
        for one in report.dvr.recordings {
            note((&one.vhost, &one.app, &one.name), "recording: ", one.left_out);
        }
        merged.clients.extend(report.clients);
        merged.streams.extend(report.streams);
        for mut seen in report.viewers {
            note((&seen.vhost, &seen.app, &seen.name), "", std::mem::take(&mut seen.left_out));
            *viewers.entry((seen.vhost, seen.app, seen.name)).or_default() += seen.clients;
        }
    }
    for stream in &mut merged.streams {
        let key = (stream.vhost.clone(), stream.app.clone(), stream.name.clone());
        stream.left_out = left_out.remove(&key).unwrap_or_default().into_iter().collect();
        stream.clients = u64::from(stream.publish.active) + viewers.get(&key).copied().unwrap_or(0);
    }
    merged.clients.sort_by_key(|client| client.id);
    merged.streams.sort_by(|a, b| (&a.vhost, &a.app, &a.name).cmp(&(&b.vhost, &b.app, &b.name)));
    merged
}

/// Connections that ended, by reason, over all processes.
#[must_use]
pub fn merge_ended(reports: &[Report]) -> BTreeMap<String, u64> {
    sum(reports.iter().flat_map(|report| &report.ended))
}

/// What clients asked and were refused, by what and why, over all processes.
#[must_use]
pub fn merge_refused(reports: &[Report]) -> BTreeMap<String, u64> {
    sum(reports.iter().flat_map(|report| &report.refused))
}

fn sum<'a>(counts: impl Iterator<Item = &'a (String, u64)>) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (reason, count) in counts {
        *all.entry(reason.clone()).or_default() += count;
    }
    all
}

/// The vhosts of the configuration (name, whether it is served, whether it has HLS) with what their streams come to.
#[must_use]
pub fn vhosts(known: &[(String, bool, bool)], merged: &Merged) -> Vec<Vhost> {
    known
        .iter()
        .map(|(name, enabled, hls)| {
            let mut vhost = Vhost {
                id: name.clone(),
                name: name.clone(),
                enabled: *enabled,
                clients: merged.clients.iter().filter(|client| client.vhost == *name).count() as u64,
                streams: 0,
                send_bytes: 0,
                recv_bytes: 0,
                kbps: crate::Kbps::default(),
                hls: crate::Switch { enabled: *hls },
            };
            for stream in merged.streams.iter().filter(|stream| stream.vhost == *name) {
                vhost.streams += 1;
                vhost.send_bytes += stream.send_bytes;
                vhost.recv_bytes += stream.recv_bytes;
                vhost.kbps += stream.kbps;
            }
            vhost
        })
        .collect()
}

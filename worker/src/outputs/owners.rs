//! Which http process has a stream: one alone cuts its HLS, records it and knows its players. Everything else can be served
//! by each of them.

use std::collections::HashMap;

use conf::Config;
use conf::vhost::Vhost;
use hls::{Trace, Traced};
use media::StreamKey;

/// How the files of a vhost's HLS are traced back to their streams; `None`: they can't be.
type Traces = Option<(Trace, Trace)>;

/// How streams are divided among the http processes.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    count: u32,
    mine: u32,
    vhosts: HashMap<String, Traces>,
}

impl Owners {
    /// As process `mine` of so many sees it.
    pub(crate) fn new(config: &Config, mine: u32) -> Self {
        let several = config.http_workers > 1;
        let vhosts = config.vhosts.iter().filter(|_| several);
        let vhosts = vhosts.map(|vhost| (vhost.name.clone(), traces(vhost))).collect();
        Self { count: config.http_workers, mine, vhosts }
    }

    /// Whether a stream is this process's.
    pub(crate) fn is_mine(&self, key: &StreamKey) -> bool {
        self.count <= 1 || self.of(&key.vhost, || hls::of_key(key)) == self.mine
    }

    /// The other process that a path of a vhost's HLS belongs to.
    pub(crate) fn other(&self, vhost: &Vhost, path: &http1::Path) -> Option<u32> {
        if self.count <= 1 || !vhost.hls.enabled {
            return None;
        }
        let asked = path.components().join("/");
        let path = file_path(path);
        // Those of further tracks are where the first are.
        let of_member = hls::Member::unmark(&path).map(|(_, path)| path);
        let owner = match self.vhosts.get(&vhost.name)? {
            Some((list, segment)) => {
                // A list is asked for by the name of its stream; everything else, by that of a file.
                let of_list = match &of_member {
                    Some(path) => list.find(path),
                    None => list.find_plain(&asked),
                };
                let traced = of_list.or_else(|| segment.find(of_member.as_ref().unwrap_or(&path)))?;
                self.of(&vhost.name, || traced)
            }
            None => {
                let ending = |name: &str| name.rsplit_once('.').map(|(_, ending)| ending.to_owned());
                let (list, segment) = (ending(&vhost.hls.m3u8_file), ending(&vhost.hls.ts_file));
                let its = ending(of_member.as_ref().unwrap_or(&path))?;
                (Some(&its) == list.as_ref() || Some(&its) == segment.as_ref())
                    .then(|| self.of(&vhost.name, Traced::default))?
            }
        };
        (owner != self.mine).then_some(owner)
    }

    fn of(&self, vhost: &str, traced: impl FnOnce() -> Traced) -> u32 {
        let can_be_traced = matches!(self.vhosts.get(vhost), Some(Some(_)));
        // All of a vhost's streams stay together where their files can't be told apart.
        let (app, stream) = if can_be_traced { traced() } else { Traced::default() };
        StreamKey { vhost: vhost.to_owned(), app, stream }.shard(self.count)
    }
}

/// The file that is asked for from where a list is: directories are addressed by names, files as they are called.
pub(crate) fn file_path(path: &http1::Path) -> String {
    let Some((last, above)) = path.components().split_last() else { return String::new() };
    let above = above.iter().map(|name| hls::template::component(name));
    above.chain([last.clone()]).collect::<Vec<String>>().join("/")
}

fn traces(vhost: &Vhost) -> Traces {
    let list = Trace::new(&vhost.hls.m3u8_file, &vhost.name)?;
    Some((list, Trace::new(&vhost.hls.ts_file, &vhost.name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_stream_belong_to_whom_the_stream_belongs() {
        for templates in ["", "hls_ts_file [app]/[2006]/[stream]-[timestamp].ts;", "hls_ts_file [seq].ts;"] {
            let text = format!(
                "listen 1; http_workers 3; vhost v {{ hls {{ enabled on; {templates} }} }} vhost w {{ }}"
            );
            let config = conf::parse_text("x", text.as_bytes(), &conf::Environment::empty()).unwrap().config;
            let vhost = config.vhosts.iter().find(|vhost| vhost.name == "v").unwrap();
            let other = config.vhosts.iter().find(|vhost| vhost.name == "w").unwrap();
            let owners: Vec<Owners> = (0..3).map(|number| Owners::new(&config, number)).collect();
            let mut had = [0; 3];
            for n in 0..60 {
                let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: format!("cam-{n}") };
                let mine: Vec<usize> = (0..3).filter(|number| owners[*number].is_mine(&key)).collect();
                assert_eq!(mine.len(), 1, "{key} has one owner");
                had[mine[0]] += 1;
                let files = match templates {
                    "" => [format!("/live/cam-{n}%25audio1.m3u8"), format!("/live/cam-{n}-77.ts")],
                    "hls_ts_file [seq].ts;" => [format!("/live/cam-{n}.m3u8"), "/77.ts".to_owned()],
                    _ => [format!("/live/cam-{n}.m3u8"), format!("/live/2026/cam-{n}-123.ts")],
                };
                for file in files {
                    let path = http1::Path::parse(&file).unwrap();
                    for (number, owner) in owners.iter().enumerate() {
                        let wanted = (number != mine[0]).then(|| u32::try_from(mine[0]).unwrap());
                        assert_eq!(owner.other(vhost, &path), wanted, "{file} at {number}");
                        assert_eq!(owner.other(other, &path), None, "no HLS there");
                    }
                }
            }
            let together = templates == "hls_ts_file [seq].ts;";
            assert_eq!(
                had.iter().filter(|count| **count == 0).count(),
                if together { 2 } else { 0 },
                "{had:?}"
            );
        }
    }

    #[test]
    fn one_process_has_everything() {
        let config =
            conf::parse_text("x", b"listen 1; vhost v { hls { enabled on; } }", &conf::Environment::empty());
        let config = config.unwrap().config;
        let owners = Owners::new(&config, 0);
        let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: "a".into() };
        assert!(owners.is_mine(&key));
        let path = http1::Path::parse("/live/a.m3u8").unwrap();
        assert_eq!(owners.other(&config.vhosts[0], &path), None);
    }
}

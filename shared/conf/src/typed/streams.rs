//! Ingest and transcode blocks.

use std::path::{Path, PathBuf};

use super::block::{Block, set};
use crate::check::Entry;
use crate::diagnostic::{Report, quoted};
use crate::encode::{Engine, Ingest, IngestSource, Transcode};

/// The word that means the server's own file ingester.
const BUILTIN: &str = "builtin";

/// Builds an ingest; one that would run but cannot is an error.
pub(super) fn ingest(entry: &Entry, vhost_enabled: bool, report: &mut Report) -> Ingest {
    let id = entry.first_text().to_owned();
    let block = Block(entry.block.as_deref().unwrap_or_default());
    let input = block.block("input");
    let url = input.string("url").unwrap_or_default();
    let source = match input.text("type") {
        Some("stream") => IngestSource::Stream(url),
        _ => IngestSource::File(PathBuf::from(url)),
    };
    let engines: Vec<Engine> = block.all("engine").map(engine).collect();
    let output = block
        .string("output")
        .or_else(|| engines.first().map(|engine| engine.output.clone()).filter(|output| !output.is_empty()))
        .unwrap_or_else(|| "rtmp://127.0.0.1:[port]/live/[ingest]?vhost=[vhost]".into())
        .replace("[ingest]", &id);
    let ingest = Ingest {
        id,
        enabled: block.flag("enabled").unwrap_or(false),
        ffmpeg: block.path("ffmpeg").filter(|program| program.as_os_str() != BUILTIN),
        source,
        output,
        engines,
    };
    if ingest.enabled && vhost_enabled {
        check_source(entry, &block, &ingest, report);
    }
    ingest
}

fn check_source(entry: &Entry, block: &Block<'_>, ingest: &Ingest, report: &mut Report) {
    let empty = match &ingest.source {
        IngestSource::File(path) => path.as_os_str().is_empty(),
        IngestSource::Stream(url) => url.is_empty(),
    };
    let url = block.block("input").get("url").map_or(&entry.place, |url| &url.place);
    if empty {
        report.error(&entry.place, "the ingest has no input (expected input { url ...; })".into());
    } else if ingest.ffmpeg.is_none() {
        match &ingest.source {
            IngestSource::File(path) if is_flv(path) => {}
            IngestSource::File(path) => {
                let shown = quoted(&path.to_string_lossy());
                report.error(
                    url,
                    format!("{shown} is not a .flv file: without ffmpeg the server reads no other kind"),
                );
            }
            IngestSource::Stream(_) => {
                let message = "input type stream needs ffmpeg: without it the server reads .flv files only";
                report
                    .error(block.block("input").get("type").map_or(url, |kind| &kind.place), message.into());
            }
        }
        if !ingest.output.starts_with("rtmp://") {
            let place =
                block.get("output").or_else(|| block.get("engine")).map_or(&entry.place, |e| &e.place);
            report
                .error(place, format!("{} is not an RTMP URL (expected rtmp://...)", quoted(&ingest.output)));
        }
    }
}

fn is_flv(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("flv"))
}

/// Builds a transcode.
pub(super) fn transcode(entry: &Entry) -> Transcode {
    let block = Block(entry.block.as_deref().unwrap_or_default());
    let scope = entry.first_text();
    Transcode {
        scope: (!scope.is_empty()).then(|| scope.to_owned()),
        enabled: block.flag("enabled").unwrap_or(false),
        ffmpeg: block.path("ffmpeg"),
        engines: block.all("engine").map(engine).collect(),
    }
}

fn engine(entry: &Entry) -> Engine {
    let block = Block(entry.block.as_deref().unwrap_or_default());
    let container = |name| match block.text(name) {
        None => Some("flv".to_owned()),
        Some("off") => None,
        Some(container) => Some(container.to_owned()),
    };
    let mut engine = Engine {
        name: entry.first_text().to_owned(),
        perfile: block.pairs("perfile"),
        iformat: container("iformat"),
        vfilter: block.pairs("vfilter"),
        vcodec: block.string("vcodec"),
        vprofile: block.string("vprofile"),
        vpreset: block.string("vpreset"),
        vparams: block.pairs("vparams"),
        acodec: block.string("acodec"),
        aparams: block.pairs("aparams"),
        oformat: container("oformat"),
        output: block.string("output").unwrap_or_default(),
        ..Engine::default()
    };
    set(&mut engine.enabled, block.flag("enabled"));
    set(&mut engine.vbitrate, block.int("vbitrate"));
    set(&mut engine.vfps, block.int("vfps").map(|milli| f64::from(milli) / 1000.0));
    set(&mut engine.vwidth, block.int("vwidth").map(even));
    set(&mut engine.vheight, block.int("vheight").map(even));
    set(&mut engine.vthreads, block.int("vthreads"));
    set(&mut engine.abitrate, block.int("abitrate"));
    set(&mut engine.asample_rate, block.int("asample_rate"));
    set(&mut engine.achannels, block.int("achannels"));
    engine
}

fn even(pixels: u32) -> u32 {
    pixels & !1
}

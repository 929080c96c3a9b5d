//! Clips with the codecs that tests need, made once per test program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::run;
use crate::wait::SOON;

/// Options before the ones of a clip: quiet, and never a question.
pub const QUIET: [&str; 5] = ["-nostdin", "-hide_banner", "-loglevel", "error", "-y"];

/// A clip to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clip {
    /// H.264 without B-frames, AAC; six seconds, a key frame every second.
    H264Aac,
    /// H.264 with B-frames, AAC; six seconds.
    BFrames,
    /// H.264, MP3.
    H264Mp3,
    /// AAC alone.
    AudioOnly,
    /// H.264 alone.
    VideoOnly,
}

impl Clip {
    fn name(self) -> &'static str {
        match self {
            Self::H264Aac => "h264_aac.flv",
            Self::BFrames => "b_frames.flv",
            Self::H264Mp3 => "h264_mp3.flv",
            Self::AudioOnly => "audio_only.flv",
            Self::VideoOnly => "video_only.flv",
        }
    }

    /// Where it is; made on first use.
    ///
    /// # Panics
    /// When ffmpeg can't make it.
    #[must_use]
    pub fn path(self) -> PathBuf {
        static DIRECTORY: OnceLock<TempDir> = OnceLock::new();
        static MAKING: Mutex<()> = Mutex::new(());
        let directory = DIRECTORY.get_or_init(|| TempDir::new().expect("a temporary directory"));
        let path = directory.path().join(self.name());
        let _one_at_a_time = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !path.exists() {
            self.make(&path);
        }
        path
    }

    fn make(self, path: &Path) {
        let picture = "testsrc2=size=320x180:rate=25";
        let tone = "sine=frequency=440:sample_rate=44100";
        let h264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -keyint_min 25 -sc_threshold 0";
        let (inputs, codecs): (&[&str], String) = match self {
            Self::H264Aac => (&[picture, tone], format!("{h264} -bf 0 -c:a aac -b:a 64k")),
            Self::BFrames => (
                &[picture, tone],
                format!("{} -bf 2 -b_strategy 0 -c:a aac -b:a 64k", h264.replace("ultrafast", "veryfast")),
            ),
            Self::H264Mp3 => (&[picture, tone], format!("{h264} -bf 0 -c:a libmp3lame -b:a 64k")),
            Self::AudioOnly => (&[tone], "-c:a aac -b:a 64k".to_owned()),
            Self::VideoOnly => (&[picture], format!("{h264} -bf 0")),
        };
        let mut command = Command::new("ffmpeg");
        command.args(QUIET);
        for input in inputs {
            command.args(["-f", "lavfi", "-i", input]);
        }
        // A half-made clip must never be taken for a whole one.
        let unfinished = path.with_extension("unfinished");
        command.args(["-t", "6"]).args(codecs.split(' ')).args(["-f", "flv"]).arg(&unfinished);
        drop(run(&mut command, Duration::from_secs(60)).expect_success());
        std::fs::rename(&unfinished, path).expect("a file can be renamed");
    }
}

/// Decodes a file; any error in it is one of the test.
///
/// # Panics
/// When there is one.
pub fn assert_playable(path: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(QUIET).arg("-i").arg(path).args(["-f", "null", "-"]);
    let ended = run(&mut command, SOON);
    assert!(ended.stderr.trim().is_empty(), "{}: {}", path.display(), ended.stderr);
    drop(ended.expect_success());
}

//! Parts of the server that a directive may ask for and that this version does not have.

/// One such part; an operator gets one warning for each that would have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// TLS for HTTP services.
    Https,
    /// Quit when the parent dies.
    AsProcess,
    /// Load shedding.
    CircuitBreaker,
    /// Bandwidth test.
    Bandcheck,
    /// MPEG-DASH.
    Dash,
    /// Edge and origin cluster.
    Edge,
    /// Commands for publishers.
    Exec,
    /// Push to other servers.
    Forward,
    /// Adobe HDS.
    Hds,
    /// Report to another server.
    Heartbeat,
    /// Encrypted HLS.
    HlsKeys,
    /// Calls to a web server.
    HttpHooks,
    /// Reload when the file changes.
    InotifyReload,
    /// Reordering of audio and video.
    MixCorrect,
    /// Periods of the status lines.
    PithyPrint,
    /// WebRTC.
    Rtc,
    /// RTMP over TLS.
    Rtmps,
    /// Access rules by address.
    Security,
    /// SRT.
    Srt,
    /// Host statistics.
    Stats,
    /// Input of other protocols.
    StreamCaster,
    /// Cloud services of one company.
    TencentCloud,
    /// Transcoding.
    Transcode,
    /// UTC in the log.
    UtcTime,
}

impl Feature {
    /// What operators call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::AsProcess => "asprocess",
            Self::CircuitBreaker => "circuit_breaker",
            Self::Bandcheck => "bandcheck",
            Self::Dash => "dash",
            Self::Edge => "edge (mode remote)",
            Self::Exec => "exec",
            Self::Forward => "forward",
            Self::Hds => "hds",
            Self::Heartbeat => "heartbeat",
            Self::HlsKeys => "hls_keys",
            Self::HttpHooks => "http_hooks",
            Self::InotifyReload => "inotify_auto_reload",
            Self::MixCorrect => "mix_correct",
            Self::PithyPrint => "pithy_print",
            Self::Rtc => "rtc",
            Self::Rtmps => "rtmps",
            Self::Security => "security",
            Self::Srt => "srt",
            Self::Stats => "stats",
            Self::StreamCaster => "stream_caster",
            Self::TencentCloud => "tencentcloud",
            Self::Transcode => "transcode",
            Self::UtcTime => "utc_time",
        }
    }
}

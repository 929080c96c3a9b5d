//! The end-to-end tests: the real server against real encoders and players.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests panic when they fail"
)]

mod adoption;
mod api;
mod api_hostile;
mod api_tools;
mod api_totals;
mod channels;
mod cli;
mod codecs;
mod colours;
mod console;
mod crash;
mod crash_points;
mod crowding;
mod demand;
mod demo;
mod disk_faults;
mod dvr;
mod dvr_append;
mod enhanced_rtmp;
mod external;
mod faults;
mod first_contacts;
mod hanging_disk;
mod he_aac;
mod hls;
mod hls_cache;
mod hls_rested;
mod hls_successor;
mod hostile;
mod hostile_files;
mod hostile_table;
mod http_browser;
mod http_downloads;
mod http_files;
mod http_live;
mod http_workers;
mod https;
mod jitter;
mod limits;
mod log_faults;
mod long_times;
mod media_matrix;
mod multitrack;
mod multitrack_hls;
mod names;
mod obs;
mod one_picture;
mod packaging;
mod players;
mod publish_play;
mod reload;
mod remux_rules;
mod runtime_directory;
mod secrets;
mod semantics;
mod snapshots;
mod soak;
mod sound_layouts;
mod startup;
mod storm;
mod supervision;
mod systemd;
mod tidy;
mod tidy_crates;
mod tidy_rooms;
mod tidy_types;
mod timestamps;
mod transport_streams;
mod vhosts;
mod vod;
mod web_players;

//! rtmp: being built.

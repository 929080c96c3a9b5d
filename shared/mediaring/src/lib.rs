//! mediaring: being built.

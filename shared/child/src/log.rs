//! The log of this process, as far as messages from the master concern it. How lines are written is the executable's
//! business: it leaves its functions here when it begins.

use std::sync::OnceLock;

use conf::config::Log;

/// What can be asked of the log.
#[derive(Debug, Clone, Copy)]
pub struct LogHooks {
    /// Go by these settings.
    pub configure: fn(&Log),
    /// Open the file again: it was renamed.
    pub reopen: fn(),
    /// Why the log is not where it is to be, if so.
    pub trouble: fn() -> Option<String>,
}

static HOOKS: OnceLock<LogHooks> = OnceLock::new();

/// Called once by the executable.
pub fn set_log_hooks(hooks: LogHooks) {
    let _ = HOOKS.set(hooks);
}

/// The log goes by these settings from now on.
pub fn configure_log(log: &Log) {
    if let Some(hooks) = HOOKS.get() {
        (hooks.configure)(log);
    }
}

/// Why the log is not where it is to be, if so.
#[must_use]
pub fn log_trouble() -> Option<String> {
    HOOKS.get().and_then(|hooks| (hooks.trouble)())
}

/// Opens the log file again.
pub fn reopen_log() {
    if let Some(hooks) = HOOKS.get() {
        (hooks.reopen)();
    }
}

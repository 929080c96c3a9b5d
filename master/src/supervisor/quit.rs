//! The graceful end: nobody new is taken, those who publish may finish.

use conf::config::Grace;
use ipc::{MasterToChild, Role};

use super::Supervisor;
use super::listening::Purpose;
use crate::plan::Event;

/// How far a graceful end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quit {
    /// The listeners close at this time, ms: a load balancer first has to hear of it.
    Closing { at_ms: u64 },
    /// Publishers may go on until then, ms.
    Waiting { until_ms: u64 },
    /// All have finished; the end comes then, ms.
    Ending { at_ms: u64 },
}

impl Quit {
    pub(super) fn begin(grace: &Grace) -> Self {
        Self::Closing { at_ms: reactor::now_ms() + grace.start_wait_ms }
    }

    /// When [`Supervisor::go_on_quitting`] is due.
    pub(super) fn deadline(self) -> u64 {
        match self {
            Self::Closing { at_ms } | Self::Ending { at_ms } => at_ms,
            // Whether somebody still publishes is told by messages.
            Self::Waiting { until_ms } => until_ms,
        }
    }
}

impl Supervisor {
    /// SIGQUIT, or SIGTERM where `force_grace_quit` is on. The second one ends at once.
    pub(super) fn quit_gracefully(&mut self) -> bool {
        if self.quit.is_some() {
            return true;
        }
        tracing::info!("a graceful end: no new clients, publishers may finish");
        self.quit = Some(Quit::begin(&self.config.grace));
        false
    }

    pub(super) fn go_on_quitting(&mut self) {
        let now_ms = reactor::now_ms();
        let publishers = self.keeper.publishers();
        match self.quit {
            Some(Quit::Closing { at_ms }) if now_ms >= at_ms => {
                self.close_listeners();
                tracing::info!("nobody is taken any more; {publishers} still publish");
                self.quit = Some(Quit::Waiting { until_ms: now_ms + self.config.grace.timeout_ms });
                self.go_on_quitting();
            }
            Some(Quit::Waiting { until_ms }) if publishers == 0 => {
                // The last seconds of a stream are on their way to its viewers.
                let at_ms = (now_ms + self.config.grace.final_wait_ms).min(until_ms.max(now_ms));
                self.quit = Some(Quit::Ending { at_ms });
                self.go_on_quitting();
            }
            Some(Quit::Waiting { until_ms }) if now_ms >= until_ms => {
                tracing::warn!("grace_timeout is over: {publishers} publishers are ended");
                self.quit = Some(Quit::Ending { at_ms: now_ms });
                self.go_on_quitting();
            }
            Some(Quit::Ending { at_ms }) if now_ms >= at_ms && !self.plan.is_stopping() => {
                tracing::info!("the server ends");
                self.handle(Event::Stop);
            }
            _ => {}
        }
    }

    fn close_listeners(&mut self) {
        let addresses = self.listening.close(Purpose::Rtmp);
        self.listening.keep();
        for child in self.children.iter_mut().filter(|child| child.role == Role::Stream) {
            child.tell(&MasterToChild::StopListening { addresses: addresses.clone() }, Vec::new());
        }
    }
}

//! The graceful end: nobody new is taken, those who publish may finish.

use conf::config::Grace;
use ipc::{MasterToChild, Role};

use super::Supervisor;
use super::listening::Purpose;
use crate::plan::Event;
use crate::systemd;

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

    /// When it goes on.
    pub(super) fn deadline(self) -> u64 {
        match self {
            Self::Closing { at_ms } | Self::Ending { at_ms } => at_ms,
            // Whether somebody still publishes is told by messages.
            Self::Waiting { until_ms } => until_ms,
        }
    }
}

/// What is to be done for a graceful end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nobody new is taken.
    CloseListeners,
    /// Publishers have had their time.
    EndPublishers,
    /// All end.
    Stop,
}

impl Quit {
    /// How it goes on, with so many who publish; and what is to be done for that. To be asked again until that is nothing.
    fn step(self, now_ms: u64, publishers: usize, grace: &Grace) -> (Self, Option<Step>) {
        match self {
            Self::Closing { at_ms } if now_ms >= at_ms => {
                (Self::Waiting { until_ms: now_ms + grace.timeout_ms }, Some(Step::CloseListeners))
            }
            Self::Waiting { until_ms } if publishers == 0 => {
                // The last seconds of a stream are on their way to its viewers.
                let at_ms = (now_ms + grace.final_wait_ms).min(until_ms.max(now_ms));
                Self::Ending { at_ms }.step(now_ms, publishers, grace)
            }
            Self::Waiting { until_ms } if now_ms >= until_ms => {
                (Self::Ending { at_ms: now_ms }, Some(Step::EndPublishers))
            }
            Self::Ending { at_ms } if now_ms >= at_ms => (self, Some(Step::Stop)),
            _ => (self, None),
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
        self.quit = Some(Quit::begin(&self.processes.configuration.in_force().grace));
        false
    }

    /// Does what is due of a graceful end.
    pub(super) fn go_on_quitting(&mut self) {
        while let Some(quit) = self.quit.filter(|_| !self.processes.is_stopping()) {
            let publishers = self.processes.keeper.publishers();
            let grace = &self.processes.configuration.in_force().grace;
            let (next, step) = quit.step(reactor::now_ms(), publishers, grace);
            self.quit = Some(next);
            match step {
                None => return,
                Some(Step::CloseListeners) => {
                    self.close_listeners();
                    let said = format!("nobody is taken any more; {publishers} still publish");
                    tracing::info!("{said}");
                    systemd::status(&said);
                }
                Some(Step::EndPublishers) => {
                    tracing::warn!("grace_timeout is over: {publishers} publishers are ended");
                }
                Some(Step::Stop) => {
                    tracing::info!("the server ends");
                    self.processes.handle(Event::Stop);
                }
            }
        }
    }

    fn close_listeners(&mut self) {
        self.processes.children.take_nobody = true;
        let addresses = self.processes.listening.close(Purpose::Rtmp);
        self.processes.listening.keep();
        for child in self.processes.children.of_roles(&[Role::Stream]) {
            child.tell(&MasterToChild::StopListening { addresses: addresses.clone() }, Vec::new());
        }
        self.processes.tell_processes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_may_finish_within_their_time() {
        let grace = Grace { start_wait_ms: 10, final_wait_ms: 20, timeout_ms: 100, force: false };
        let waits = Quit::Waiting { until_ms: 110 };
        let ends = |at_ms| Quit::Ending { at_ms };
        assert_eq!(Quit::Closing { at_ms: 10 }.step(9, 1, &grace), (Quit::Closing { at_ms: 10 }, None));
        assert_eq!(Quit::Closing { at_ms: 10 }.step(10, 1, &grace), (waits, Some(Step::CloseListeners)));
        assert_eq!(waits.step(109, 1, &grace), (waits, None));
        assert_eq!(waits.step(50, 0, &grace), (ends(70), None));
        assert_eq!(waits.step(100, 0, &grace), (ends(110), None), "no longer than publishers might have had");
        assert_eq!(waits.step(110, 2, &grace), (ends(110), Some(Step::EndPublishers)));
        assert_eq!(ends(110).step(110, 2, &grace), (ends(110), Some(Step::Stop)));
    }
}

//! Clients that follow debug events. A follower that does not keep up misses events and learns how many; it never delays
//! control.

use std::fmt;
use std::sync::Arc;

use crossbeam::channel::{self, Receiver, Sender, TrySendError};

use crate::api::view::DebugEvent;

/// Queue length of a follower.
pub const QUEUE_LEN: usize = 1024;

/// An event for a follower.
#[derive(Clone, Debug)]
pub struct FollowedEvent {
    /// The event.
    pub event: Arc<DebugEvent>,
    /// Events dropped since the previous one, because the queue was full.
    pub missed: u64,
}

/// The receiving end of a follower.
#[derive(Clone)]
pub struct EventReceiver(pub Receiver<FollowedEvent>);

impl fmt::Debug for EventReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventReceiver")
    }
}

impl PartialEq for EventReceiver {
    fn eq(&self, other: &EventReceiver) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// The sending ends, each with the number of events it has missed.
#[derive(Debug, Default)]
pub struct Followers(Vec<(Sender<FollowedEvent>, u64)>);

impl Followers {
    /// Adds a follower.
    pub fn add(&mut self) -> EventReceiver {
        let (sender, receiver) = channel::bounded(QUEUE_LEN);
        self.0.push((sender, 0));
        EventReceiver(receiver)
    }

    /// Sends an event to all followers, and removes those that have disconnected.
    pub fn send(&mut self, event: impl FnOnce() -> DebugEvent) {
        if self.0.is_empty() {
            return;
        }
        let event = Arc::new(event());
        self.0.retain_mut(|(sender, missed)| {
            match sender.try_send(FollowedEvent { event: Arc::clone(&event), missed: *missed }) {
                Ok(()) => *missed = 0,
                Err(TrySendError::Full(_)) => *missed += 1,
                Err(TrySendError::Disconnected(_)) => return false,
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: String) -> DebugEvent {
        DebugEvent { text, ..DebugEvent::default() }
    }

    #[test]
    fn a_slow_follower_learns_how_many_it_missed() {
        let mut followers = Followers::default();
        let (slow, quick) = (followers.add(), followers.add());
        for n in 0..QUEUE_LEN + 5 {
            followers.send(|| named(n.to_string()));
            assert_eq!(quick.0.try_recv().unwrap().missed, 0);
        }
        let first: Vec<FollowedEvent> = slow.0.try_iter().collect();
        assert_eq!(first.len(), QUEUE_LEN);
        followers.send(|| named("later".to_owned()));
        let last = slow.0.try_recv().unwrap();
        assert_eq!((last.event.text.as_str(), last.missed), ("later", 5));
    }

    #[test]
    fn disconnected_followers_are_removed() {
        let mut followers = Followers::default();
        drop(followers.add());
        followers.send(|| named(String::new()));
        assert!(followers.0.is_empty());
    }
}

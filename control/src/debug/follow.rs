//! Who hears debug events beside the log. A follower that does not keep up misses some and is told how many; it never
//! holds control up.

use std::fmt;
use std::sync::Arc;

use crossbeam::channel::{self, Receiver, Sender, TrySendError};

use crate::view::DebugEvent;

/// Events that wait for one follower.
pub const WAITING: usize = 1024;

/// What a follower gets: an event, and how many it missed before.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What was told.
    pub event: Arc<DebugEvent>,
    /// Events between the last one and this that there was no room for.
    pub missed: u64,
}

/// A follower's end.
#[derive(Clone)]
pub struct Follow(pub Receiver<Heard>);

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follow")
    }
}

impl PartialEq for Follow {
    fn eq(&self, other: &Follow) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// The other ends.
#[derive(Debug, Default)]
pub struct Followers(Vec<(Sender<Heard>, u64)>);

impl Followers {
    /// One more.
    pub fn add(&mut self) -> Follow {
        let (sender, receiver) = channel::bounded(WAITING);
        self.0.push((sender, 0));
        Follow(receiver)
    }

    /// Tells all of them; those that have gone are forgotten.
    pub fn tell(&mut self, event: impl FnOnce() -> DebugEvent) {
        if self.0.is_empty() {
            return;
        }
        let event = Arc::new(event());
        self.0.retain_mut(|(sender, missed)| {
            match sender.try_send(Heard { event: Arc::clone(&event), missed: *missed }) {
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
    fn a_slow_follower_is_told_what_it_missed() {
        let mut followers = Followers::default();
        let (slow, quick) = (followers.add(), followers.add());
        for n in 0..WAITING + 5 {
            followers.tell(|| named(n.to_string()));
            assert_eq!(quick.0.recv().unwrap().missed, 0);
        }
        let first: Vec<Heard> = slow.0.try_iter().collect();
        assert_eq!(first.len(), WAITING);
        followers.tell(|| named("later".to_owned()));
        let heard = slow.0.recv().unwrap();
        assert_eq!((heard.event.text.as_str(), heard.missed), ("later", 5));
    }

    #[test]
    fn followers_that_have_gone_are_forgotten() {
        let mut followers = Followers::default();
        drop(followers.add());
        followers.tell(|| named(String::new()));
        assert!(followers.0.is_empty());
    }
}

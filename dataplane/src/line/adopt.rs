//! A snapshot takes the place of another at once. What it brings for schedulers' memories and for the counts behind
//! thresholds is heard afterwards, a part in each turn; but of a service all of it before a packet makes use of any.

use super::Line;
use super::flush::Flush;
use crate::config::{News, Piece, Snapshot};
use crate::conn::slab::prefetch_at;
use crate::leisure::Leisure;
use crate::sched::Load;
use crate::service::{DestinationId, ServiceId};
use crate::trace::{Record, event};

impl Line {
    /// Acts on `snapshot` from now on; gives back the one before. What was not heard of its news is heard first.
    pub fn adopt(&mut self, snapshot: Box<Snapshot>, news: News) -> Box<Snapshot> {
        self.hear(&mut { Leisure::ENDLESS });
        if snapshot.network.generation != self.snapshot.network.generation {
            self.paths.clear();
        }
        let removed = news.removes() && snapshot.settings.expire_nodest_conn;
        if removed || snapshot.settings.protocols_off != self.snapshot.settings.protocols_off {
            self.flush = Some(Flush::BEGIN);
        }
        self.news = news;
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        event!(self, Adopted, |line| Record::new([line.snapshot.generation as u32, 0, 0, 0]));
        old
    }

    /// Goes on hearing as far as there is leisure; gives the news back when all was heard.
    pub fn hear(&mut self, leisure: &mut Leisure) -> Option<News> {
        while let Some((service, piece)) = self.news.next(leisure) {
            if let Some(service) = self.news.ahead() {
                prefetch_at(&self.memories, service.0 as usize);
            }
            self.take_note(service, piece);
        }
        self.news.is_over().then(|| std::mem::take(&mut self.news))
    }

    /// Before connections of a destination are counted, what came about its thresholds is heard.
    #[inline]
    pub(super) fn hear_first(&mut self, of: DestinationId) {
        if !self.news.is_over()
            && let Some(destination) = self.snapshot.services.destination(of)
        {
            self.hear_of(destination.service);
        }
    }

    /// Hears all that came about a service.
    #[cold]
    #[inline(never)]
    pub(super) fn hear_of(&mut self, service: ServiceId) {
        let mut news = std::mem::take(&mut self.news);
        news.of(service).for_each(|piece| self.take_note(service, piece));
        self.news = news;
    }

    fn take_note(&mut self, service: ServiceId, piece: Piece) {
        match piece {
            Piece::Scheduler(scheduler, event) => {
                if let Some(memory) = self.memories.get_mut(service.0 as usize) {
                    memory.hear(scheduler, &event);
                }
            }
            Piece::Threshold(id, counting, clears) => {
                let load = self.board.destinations.get(id.0 as usize).map_or(Load::default(), |c| c.load());
                self.shared.quotas.edited(id, counting, (load.active + load.inactive).cast_signed(), clears);
            }
        }
    }
}

//! Listing connections page by page: those of each worker, then the persistence templates.

use pollux_dataplane::time::Tick;

use super::NamespaceEngine;
use crate::api::error::Failure;
use crate::api::request::ConnectionQuery;
use crate::api::view::{ConnectionPage, ConnectionView};
use crate::engine::observe;
use crate::model::input_error::InputErrors;

impl NamespaceEngine {
    /// Returns a page. A cursor is a worker number and a position in its table, and never expires; the number after the
    /// last worker stands for the templates.
    pub(super) fn connections(&mut self, query: &ConnectionQuery) -> Result<ConnectionPage, Failure> {
        let (mut table, mut from) = match &query.cursor {
            None => (0, 0),
            Some(cursor) => parse_cursor(cursor).ok_or_else(|| Failure::BadCursor(cursor.clone()))?,
        };
        if query.limit == 0 {
            let hint = format!("use 1 to {}", ConnectionQuery::MAX_LIMIT);
            return Err(InputErrors::one("limit", "a page of 0 connections never ends", hint).into());
        }
        let limit = query.limit.min(ConnectionQuery::MAX_LIMIT) as usize;
        let mut connections = Vec::new();
        let mut more = true;
        while more && connections.len() < limit {
            let (listed, next) = self.page_of(table, from, limit - connections.len())?;
            connections.extend(listed.into_iter().filter(|connection| passes(query, connection)));
            more = next.is_some() || table < self.workers.all().len();
            (table, from) = next.map_or((table + 1, 0), |next| (table, next));
        }
        Ok(ConnectionPage { connections, next: more.then(|| format!("{table}-{from}")) })
    }

    /// Returns connections of one worker, or templates, and the position of the next page.
    fn page_of(
        &mut self,
        table: usize,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<ConnectionView>, Option<u64>), Failure> {
        if table < self.workers.all().len() {
            let Ok(from) = u32::try_from(from) else { return Ok((Vec::new(), None)) };
            let page = self.workers.list(table, from, limit)?;
            let (listed, next) = (observe::connections(&page, table as u16), page.next.map(u64::from));
            self.workers.recycle(page);
            return Ok((listed, next));
        }
        let Some(shared) = self.workers.shared() else { return Ok((Vec::new(), None)) };
        let now = Tick(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX));
        let (listed, next) = shared.templates.list(from, limit, now);
        Ok((listed.iter().map(observe::template).collect(), next))
    }
}

fn parse_cursor(cursor: &str) -> Option<(usize, u64)> {
    let (table, from) = cursor.split_once('-')?;
    Some((table.parse().ok()?, from.parse().ok()?))
}

fn passes(query: &ConnectionQuery, connection: &ConnectionView) -> bool {
    query.protocol.is_none_or(|protocol| connection.protocol == protocol)
        && query.client.is_none_or(|client| connection.client.ip() == client)
        && query.r#virtual.is_none_or(|endpoint| connection.r#virtual == endpoint)
        && query.destination.is_none_or(|endpoint| connection.destination == endpoint)
}

//! Executes edits: a single one, or many that workers adopt together.

use super::NamespaceEngine;
use crate::api::error::Failure;
use crate::api::request::{Done, Edit, EditedView, RefusedEdit, Reply};
use crate::model::edit::ConfigTransaction;

impl NamespaceEngine {
    pub(super) fn edit_one(&mut self, edit: Edit) -> Result<Reply, Failure> {
        let mut transaction = self.begin();
        transaction.apply_edit(edit)?;
        self.commit(transaction)?;
        Ok(Reply::Done(Done {}))
    }

    /// Executes edits in order. A refused edit changes nothing, and the next one is executed.
    pub(super) fn edit_many(&mut self, edits: Vec<Edit>) -> Result<Reply, Failure> {
        let mut transaction = self.begin();
        let count = edits.len();
        let mut refused = Vec::new();
        for (at, edit) in edits.into_iter().enumerate() {
            if let Err(why) = transaction.apply_edit(edit) {
                let why = Failure::Edit(why);
                refused.push(RefusedEdit { at, message: why.to_string(), data: why.data() });
            }
        }
        self.commit(transaction)?;
        Ok(Reply::Edited(EditedView { done: count - refused.len(), refused }))
    }

    fn begin(&self) -> ConfigTransaction {
        ConfigTransaction::new(self.compiler.config().clone(), self.compiler.running().clone())
    }

    /// Installs the changes on the workers, unless only counters were zeroed.
    fn commit(&mut self, transaction: ConfigTransaction) -> Result<(), Failure> {
        let edited = transaction.finish();
        if !edited.steps.is_empty() || edited.settings {
            self.compiler.set_free_memory(self.workers.free_memory());
            let now = self.began.elapsed();
            let level = edited.config.settings.debug_level;
            self.compile(level, |compiler| compiler.apply_steps(edited.config, &edited.steps, now))?;
        }
        for only in edited.zeroed {
            self.estimators.zero(only);
        }
        Ok(())
    }
}

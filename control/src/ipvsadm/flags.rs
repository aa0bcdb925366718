//! Names of scheduler flags. With the hashing schedulers the same bits have other names.

use super::command::ParseError;
use crate::model::{Scheduler, SchedulerFlags};

const NAMES: &[(&str, Option<Scheduler>, usize)] = &[
    ("sh-fallback", Some(Scheduler::Sh), 0),
    ("sh-port", Some(Scheduler::Sh), 1),
    ("mh-fallback", Some(Scheduler::Mh), 0),
    ("mh-port", Some(Scheduler::Mh), 1),
    ("flag-1", None, 0),
    ("flag-2", None, 1),
    ("flag-3", None, 2),
];

/// Parses the value of `-b`.
pub(super) fn parse(text: &str, scheduler: Option<Scheduler>) -> Result<SchedulerFlags, ParseError> {
    let mut bits = [false; 3];
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let known = NAMES.iter().find(|(name, _, _)| *name == word);
        let &(_, only, bit) =
            known.ok_or_else(|| ParseError::usage(format!("invalid scheduler flag `{word}'")))?;
        if only.is_some() && only != scheduler {
            return Err(ParseError::usage(format!("incompatible scheduler flag `{word}'")));
        }
        bits[bit] = true;
    }
    let [fallback, hash_l4_port, flag_3] = bits;
    Ok(SchedulerFlags { fallback, hash_l4_port, flag_3 })
}

/// Names of the set flags, empty if no set bit has a name with this scheduler, so that `-L` shows ` ()`. `None` if no flag
/// is set.
pub(super) fn words(scheduler: Scheduler, flags: SchedulerFlags) -> Option<String> {
    let named = NAMES.iter().any(|(_, only, _)| *only == Some(scheduler)).then_some(scheduler);
    let set = [flags.fallback, flags.hash_l4_port, flags.flag_3];
    let ours = NAMES.iter().filter(|(_, only, bit)| *only == named && set[*bit]);
    let words: Vec<&str> = ours.map(|(name, _, _)| *name).collect();
    (!flags.is_empty()).then(|| words.join(","))
}

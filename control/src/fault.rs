//! A fault: one thing wrong with what an operator wrote, where it is and the way out.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing wrong with what an operator wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where: `services[2].destinations[0].weight`.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.problem, self.cure)
    }
}

/// Every fault found in one reading, so that nobody has to mend and try again once for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, place: impl Into<String>, problem: impl Into<String>, cure: impl Into<String>) {
        self.0.push(Fault { place: place.into(), problem: problem.into(), cure: cure.into() });
    }

    /// Ok when nothing was noted.
    ///
    /// # Errors
    /// The faults themselves, when there are any.
    pub fn into_result(self) -> Result<(), Faults> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One fault a line.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let end_of_last = if index == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

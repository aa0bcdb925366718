//! An error in operator input: its location, what is wrong, and a hint how to correct it.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One error in the configuration or in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputError {
    /// Field with the error: `services[2].destinations[0].weight`.
    pub location: String,
    /// What is wrong, with the offending value.
    pub error: String,
    /// How to correct it.
    pub hint: String,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.location, self.error, self.hint)
    }
}

/// All errors found in one check, so that they can be corrected together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct InputErrors(pub Vec<InputError>);

impl InputErrors {
    /// Returns a single error.
    pub fn one(
        location: impl Into<String>,
        error: impl Into<String>,
        hint: impl Into<String>,
    ) -> InputErrors {
        let mut errors = InputErrors::default();
        errors.add(location, error, hint);
        errors
    }

    /// Adds an error.
    pub fn add(&mut self, location: impl Into<String>, error: impl Into<String>, hint: impl Into<String>) {
        self.0.push(InputError { location: location.into(), error: error.into(), hint: hint.into() });
    }

    /// Adds an error if a number is outside its range. `unit` may be empty.
    pub fn range<T: PartialOrd + Display>(
        &mut self,
        location: impl Into<String>,
        number: T,
        unit: &str,
        range: RangeInclusive<T>,
        hint: impl Into<String>,
    ) {
        if !range.contains(&number) {
            let space = if unit.is_empty() { "" } else { " " };
            let error = format!("{number}{space}{unit} is outside {} to {}", range.start(), range.end());
            self.add(location, error, hint);
        }
    }

    /// Returns the errors, if any, as a result.
    ///
    /// # Errors
    /// Returns `self` unless it is empty.
    pub fn into_result(self) -> Result<(), InputErrors> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One error per line.
impl fmt::Display for InputErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InputErrors {}

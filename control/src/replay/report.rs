//! What a replay tells.

use std::fmt;

use serde::Serialize;

/// How one case went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// The result.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Recorded frames that are the work of the kernel's own stack.
    pub handed_to_kernel: usize,
}

/// The result of one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Nothing differs.
    Passed,
    /// Something does.
    Failed {
        /// What.
        differences: Vec<Difference>,
    },
    /// It needs something that Pollux does not have yet; it was not tried.
    NotYetSupported {
        /// What it needs.
        feature: String,
    },
}

/// One thing that is not as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: an input, a command or a listing.
    pub place: String,
    /// What: a line for each field or line that differs.
    pub lines: Vec<String>,
}

impl Difference {
    /// A difference that one sentence tells.
    pub fn new(place: impl Into<String>, line: impl Into<String>) -> Difference {
        Difference { place: place.into(), lines: vec![line.into()] }
    }
}

impl CaseReport {
    /// A case that could not even be run.
    pub fn broken(name: String, why: String) -> CaseReport {
        let differences = vec![Difference::new("case", why)];
        CaseReport { name, verdict: Verdict::Failed { differences }, handed_to_kernel: 0 }
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = match &self.verdict {
            Verdict::Passed => return write!(f, "{}: ok", self.name),
            Verdict::NotYetSupported { feature } => {
                return write!(f, "{}: not yet supported: {feature}", self.name);
            }
            Verdict::Failed { differences } => differences,
        };
        write!(f, "{}: FAILED", self.name)?;
        for difference in differences {
            write!(f, "\n  {}", difference.place)?;
            for line in &difference.lines {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// How all cases went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Cases without a difference.
    pub passed: usize,
    /// Cases with one.
    pub failed: usize,
    /// Cases that were not tried.
    pub not_yet_supported: usize,
    /// Recorded frames that are the work of the kernel's own stack.
    pub handed_to_kernel: usize,
}

impl Summary {
    /// Counts.
    pub fn of(reports: &[CaseReport]) -> Summary {
        let mut summary = Summary::default();
        for report in reports {
            match report.verdict {
                Verdict::Passed => summary.passed += 1,
                Verdict::Failed { .. } => summary.failed += 1,
                Verdict::NotYetSupported { .. } => summary.not_yet_supported += 1,
            }
            summary.handed_to_kernel += report.handed_to_kernel;
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { passed, failed, not_yet_supported, handed_to_kernel } = self;
        write!(
            f,
            "{passed} passed, {failed} failed, {not_yet_supported} not yet supported; \
             {handed_to_kernel} outputs handed to the kernel"
        )
    }
}

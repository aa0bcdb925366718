//! Reports of a replay.

use std::fmt;

use serde::Serialize;

/// Report of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// The result.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Recorded frames that the kernel's own stack sent.
    pub passed_to_kernel: usize,
}

/// Result of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// No difference.
    Passed,
    /// Something differs.
    Failed {
        /// The differences.
        differences: Vec<Difference>,
    },
    /// It needs an unsupported feature and was not run.
    NotYetSupported {
        /// The unsupported feature.
        feature: String,
    },
}

/// A difference from the recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// An input, a command or a listing.
    pub location: String,
    /// One line per field or line that differs.
    pub lines: Vec<String>,
}

impl Difference {
    /// A difference of one line.
    pub fn new(location: impl Into<String>, line: impl Into<String>) -> Difference {
        Difference { location: location.into(), lines: vec![line.into()] }
    }
}

impl CaseReport {
    /// The report of a case that cannot be run.
    pub fn broken(name: String, why: String) -> CaseReport {
        let differences = vec![Difference::new("case", why)];
        CaseReport { name, verdict: Verdict::Failed { differences }, passed_to_kernel: 0 }
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
            write!(f, "\n  {}", difference.location)?;
            for line in &difference.lines {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// Summary of all cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Cases without a difference.
    pub passed: usize,
    /// Cases with differences.
    pub failed: usize,
    /// Cases that were not run.
    pub not_yet_supported: usize,
    /// Recorded frames that the kernel's own stack sent.
    pub passed_to_kernel: usize,
}

impl Summary {
    /// Counts the results.
    pub fn of(reports: &[CaseReport]) -> Summary {
        let mut summary = Summary::default();
        for report in reports {
            match report.verdict {
                Verdict::Passed => summary.passed += 1,
                Verdict::Failed { .. } => summary.failed += 1,
                Verdict::NotYetSupported { .. } => summary.not_yet_supported += 1,
            }
            summary.passed_to_kernel += report.passed_to_kernel;
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { passed, failed, not_yet_supported, passed_to_kernel } = self;
        write!(
            f,
            "{passed} passed, {failed} failed, {not_yet_supported} not yet supported; \
             {passed_to_kernel} outputs passed to the kernel"
        )
    }
}

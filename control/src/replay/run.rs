//! Runs a case on a balancer and collects the differences.

use super::balancer::Balancer;
use super::case::{Case, Cmd, Input, Output};
use super::compare::Comparison;
use super::machine::Machine;
use super::report::{CaseReport, Difference, Verdict};
use super::texts;

/// Time the recorder waited before the final listings; longer if the kernel had to publish its counters.
const SETTLE_MS: u64 = 20;
const SETTLE_STATS_MS: u64 = 2300;

/// Maximum lead of the recorder's time over the case's.
const LAG_MS: f64 = 60_000.0;
/// Maximum duration of the final listings.
const LISTING_MS: u64 = 1000;
const LISTING_STEP_MS: u64 = 50;
/// The final listings, in order.
const LAST: &[&str] =
    &["-Ln", "-Lnc", "-Ln --stats --exact", "-Sn", "-Ln --timeout", "-Ln --persistent-conn"];

/// A running case.
struct Run<'a> {
    case: &'a Case,
    machine: Machine<'a>,
    found: Comparison,
    now_ms: u64,
}

/// Runs a case that is in scope.
pub fn run(name: String, case: &Case, balancer: &mut dyn Balancer) -> CaseReport {
    let mut run = Run { case, machine: Machine::new(balancer), found: Comparison::default(), now_ms: 0 };
    run.prepare();
    run.commands(-1);
    for input in &case.inputs {
        run.input(input);
        run.commands(input.n);
    }
    run.found.finish(run.machine.config.network.get_or_insert_default());
    run.listings();
    let Comparison { mut differences, passed_to_kernel, .. } = run.found;
    differences.extend(run.machine.refused.into_iter().map(|why| Difference::new("configuration", why)));
    let verdict = if differences.is_empty() { Verdict::Passed } else { Verdict::Failed { differences } };
    CaseReport { name, verdict, passed_to_kernel }
}

impl Run<'_> {
    fn prepare(&mut self) {
        let case = self.case;
        self.machine.load_for(&case.rules);
        for (name, value) in &case.sysctl {
            if self.machine.sysctl(name, value).is_none() {
                self.differ(format!("sysctl {name}"), format!("cannot be {value}"));
            }
        }
        self.machine.configure("sysctls");
        for line in &case.setup {
            let (status, text) = self.machine.line(line);
            self.prepared(line, status, text);
        }
        for rule in &case.rules {
            let (status, text) = self.machine.ipvsadm_line(rule);
            self.prepared(rule, status, text);
        }
    }

    fn prepared(&mut self, line: &str, status: u8, text: String) {
        if status != 0 {
            self.differ(format!("setup `{line}`"), text);
        }
    }

    fn differ(&mut self, location: impl Into<String>, line: impl Into<String>) {
        self.found.differences.push(Difference::new(location, line));
    }

    fn advance(&mut self, at_ms: f64) {
        self.now_ms = self.now_ms.max(at_ms as u64);
        self.machine.balancer.advance(self.now_ms);
    }

    /// Executes the commands after this input.
    fn commands(&mut self, after: i64) {
        let case = self.case;
        for cmd in case.cmds.iter().filter(|cmd| cmd.after == after) {
            self.advance(cmd.at_ms);
            self.compare_command(cmd);
        }
    }

    fn compare_command(&mut self, cmd: &Cmd) {
        let (status, text) = self.machine.line(&cmd.cmd);
        let location = format!("after input {}: `{}`", cmd.after, cmd.cmd);
        if status != cmd.rc {
            self.differ(&location, format!("status: expected {}, got {status}", cmd.rc));
        }
        let connections = cmd.cmd.contains("-Lnc");
        self.found.differences.extend(texts::compare(&location, &cmd.out, &text, connections));
    }

    fn input(&mut self, input: &Input) {
        let case = self.case;
        let recorded: Vec<&Output> = case.outputs.iter().filter(|o| o.after == input.n).collect();
        // Commands took time that the case's clock does not count, but timers kept running.
        let seen = recorded.iter().map(|output| output.t_ms).fold(f64::INFINITY, f64::min);
        self.advance(if seen.is_finite() {
            input.at_ms.max(seen.min(input.at_ms + LAG_MS))
        } else {
            input.at_ms
        });
        let network_state = self.machine.config.network.get_or_insert_default();
        self.found.input(input, &recorded, network_state, self.machine.balancer);
    }

    /// Compares the final listings.
    fn listings(&mut self) {
        let wait = if self.case.stats { SETTLE_STATS_MS } else { SETTLE_MS };
        self.advance((self.now_ms + wait) as f64);
        let mut slack = LISTING_MS;
        let case = self.case;
        for options in LAST {
            let Some(expected) = case.ipvsadm.get(*options) else { continue };
            if !options.contains("--stats") || case.stats {
                self.listing(options, &expected.join("\n"), &mut slack);
            }
        }
    }

    /// Compares a final listing. Connections may have expired while the listings were taken.
    fn listing(&mut self, options: &str, expected: &str, slack: &mut u64) {
        let location = format!("at the end: `ipvsadm {options}`");
        let mut first = None;
        loop {
            let (_, got) = self.machine.ipvsadm_line(options);
            let difference = texts::compare(&location, expected, &got, options == "-Lnc");
            let (Some(difference), 1..) = (difference.clone(), *slack) else {
                self.found.differences.extend(first.filter(|_| difference.is_some()).or(difference));
                return;
            };
            first.get_or_insert(difference);
            *slack = slack.saturating_sub(LISTING_STEP_MS);
            self.advance((self.now_ms + LISTING_STEP_MS) as f64);
        }
    }
}

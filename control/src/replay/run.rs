//! Feeds a case to a balancer and collects what differs.

use super::balancer::{Balancer, Outcome, Side};
use super::case::{Case, Cmd, Input, Output};
use super::report::{CaseReport, Difference, Verdict};
use super::setup::{RouteChange, sysctl};
use super::{diff, kernel, mask, texts, topology};
use crate::ipvsadm::{Command, apply, parse, refusal, save};
use crate::model::{Config, Start};

/// How long the recorder waited before the last listings; longer where the kernel had to publish its counters.
const SETTLE_MS: u64 = 20;
const SETTLE_STATS_MS: u64 = 2300;

/// A case under way.
struct Run<'a> {
    case: &'a Case,
    config: Config,
    balancer: &'a mut dyn Balancer,
    now_ms: u64,
    differences: Vec<Difference>,
    handed_to_kernel: usize,
}

/// Runs a case that is in scope.
pub fn run(name: String, case: &Case, balancer: &mut dyn Balancer) -> CaseReport {
    // Small tables: a conversation is a few dozen frames, and each run takes its memory anew.
    let start = Start {
        connections_ipv4: 1024,
        connections_ipv6: 1024,
        services: 64,
        destinations: 256,
        ..Start::default()
    };
    let config = Config { start, facts: Some(topology::facts()), ..Config::default() };
    let mut run = Run { case, config, balancer, now_ms: 0, differences: Vec::new(), handed_to_kernel: 0 };
    run.prepare();
    run.commands(-1);
    for input in &case.inputs {
        run.input(input);
        run.commands(input.n);
    }
    run.listings();
    let Run { differences, handed_to_kernel, .. } = run;
    let verdict = if differences.is_empty() { Verdict::Passed } else { Verdict::Failed { differences } };
    CaseReport { name, verdict, handed_to_kernel }
}

impl Run<'_> {
    fn prepare(&mut self) {
        for (name, value) in &self.case.sysctl {
            sysctl(&mut self.config.settings, name, value);
        }
        self.configure("sysctls");
        let lines = self.case.setup.iter().chain(&self.case.rules);
        for line in lines {
            let (status, text) = self.command(line);
            if status != 0 {
                self.differ(format!("rule `{line}`"), text);
            }
        }
    }

    fn configure(&mut self, place: &str) {
        if let Err(why) = self.balancer.configure(&self.config) {
            self.differ(place, format!("the configuration is refused: {why}"));
        }
    }

    fn differ(&mut self, place: impl Into<String>, line: impl Into<String>) {
        self.differences.push(Difference::new(place, line));
    }

    fn advance(&mut self, at_ms: f64) {
        self.now_ms = self.now_ms.max(at_ms as u64);
        self.balancer.advance(self.now_ms);
    }

    /// Carries out the commands that follow input `after`.
    fn commands(&mut self, after: i64) {
        let case = self.case;
        for cmd in case.cmds.iter().filter(|cmd| cmd.after == after) {
            self.advance(cmd.at_ms);
            self.compare_command(cmd);
        }
    }

    fn compare_command(&mut self, cmd: &Cmd) {
        let (mut status, mut text) = (0, String::new());
        for command in cmd.cmd.split(';').map(str::trim) {
            let (last, said) = self.command(command);
            status = last;
            text += &said;
        }
        let place = format!("after input {}: `{}`", cmd.after, cmd.cmd);
        if status != cmd.rc {
            self.differ(&place, format!("status: expected {}, got {status}", cmd.rc));
        }
        let connections = cmd.cmd.contains("-Lnc");
        self.differences.extend(texts::compare(&place, &cmd.out, &text, connections));
    }

    /// Carries out one command; its exit status and what it prints.
    fn command(&mut self, text: &str) -> (u8, String) {
        if let Some(change) = RouteChange::read(text) {
            change.apply(self.config.facts.get_or_insert_default());
            self.configure(text);
            return (0, String::new());
        }
        let command = match parse(text) {
            Ok(command) => command,
            Err(error) => return (error.status(), format!("{error}\n")),
        };
        match &command {
            Command::List(listing) => return texts::listing(listing, &self.config, self.balancer),
            Command::Save => return (0, save(&texts::rows(self.balancer))),
            _ => {}
        }
        if let Err(error) = apply(&command, &mut self.config) {
            return (255, format!("{}\n", refusal(&error)));
        }
        self.configure(text);
        (0, String::new())
    }

    fn input(&mut self, input: &Input) {
        self.advance(input.at_ms);
        let outcome = self.balancer.input(input.side, &input.frame);
        let case = self.case;
        let recorded: Vec<&Output> = case.outputs.iter().filter(|o| o.after == input.n).collect();
        if outcome.to_kernel.is_empty() {
            self.compare_outputs(input, &recorded, &outcome);
        } else {
            self.judge_kernel(input, &recorded, &outcome);
        }
    }

    fn judge_kernel(&mut self, input: &Input, recorded: &[&Output], outcome: &Outcome) {
        let place = format!("input {}", input.n);
        let whole = match outcome.to_kernel.as_slice() {
            [given] => kernel::is_untouched((input.side, &input.frame), given),
            _ => false,
        };
        if !whole {
            self.differ(&place, "the kernel was not given the frame as it came, once");
        }
        if let Some((_, extra)) = outcome.outputs.first() {
            self.differ(&place, format!("both given to the kernel and sent: {}", diff::summary(extra)));
        }
        let facts = self.config.facts.get_or_insert_default();
        match kernel::judge(&input.frame, recorded, facts) {
            Ok(count) => self.handed_to_kernel += count,
            Err(why) => self.differ(&place, why),
        }
    }

    fn compare_outputs(&mut self, input: &Input, recorded: &[&Output], outcome: &Outcome) {
        // Ports are apart, so the order counts on each side; the recording has no other.
        for side in Side::ALL {
            let expected: Vec<&[u8]> =
                recorded.iter().filter(|o| o.side == side).map(|o| o.frame.as_slice()).collect();
            let got: Vec<&[u8]> = outcome
                .outputs
                .iter()
                .filter(|(s, _)| *s == side)
                .map(|(_, frame)| frame.as_slice())
                .collect();
            for at in 0..expected.len().max(got.len()) {
                let place = format!("output {at} of input {} on the {} side", input.n, side.name());
                self.compare_frames(place, input, expected.get(at).copied(), got.get(at).copied(), outcome);
            }
        }
    }

    fn compare_frames(
        &mut self,
        place: String,
        input: &Input,
        expected: Option<&[u8]>,
        got: Option<&[u8]>,
        outcome: &Outcome,
    ) {
        match (expected, got) {
            (Some(expected), Some(got)) => {
                let [want, have] = [expected, got].map(|frame| mask::mask(frame, &input.frame));
                if want != have {
                    self.differences.push(Difference { place, lines: diff::frames(&want, &have) });
                }
            }
            (Some(expected), None) => {
                let why = outcome.dropped.as_deref().unwrap_or("no reason told");
                self.differ(place, format!("missing ({why}): {}", diff::summary(expected)));
            }
            (None, Some(got)) => self.differ(place, format!("not recorded: {}", diff::summary(got))),
            (None, None) => {}
        }
    }

    /// The listings at the end.
    fn listings(&mut self) {
        let settle = if self.case.stats { SETTLE_STATS_MS } else { SETTLE_MS };
        self.advance((self.now_ms + settle) as f64);
        let case = self.case;
        for (options, expected) in case.ipvsadm.iter().filter(|(options, _)| options.starts_with('-')) {
            if options.contains("--stats") && !case.stats {
                continue;
            }
            let (_, got) = self.command(options);
            let place = format!("at the end: `ipvsadm {options}`");
            let connections = options == "-Lnc";
            self.differences.extend(texts::compare(&place, &expected.join("\n"), &got, connections));
        }
    }
}

//! The search for the rate without loss (RFC 2544) by the rules of MLRsearch (draft-ietf-bmwg-mlrsearch). Loads are judged by
//! sums of trials, and each goal ends with a load that meets it and one slightly higher that does not.

use serde_json::{Value, json};

use pollux_tests::bed::command::Result;

/// Result of one trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Offered load in packets per second.
    pub load: f64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Packets sent.
    pub sent: u64,
    /// Packets received.
    pub received: u64,
}

impl Trial {
    /// Returns the share of packets lost.
    pub fn loss(&self) -> f64 {
        1.0 - self.received.min(self.sent) as f64 / self.sent.max(1) as f64
    }
}

/// A search goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Description.
    pub name: &'static str,
    /// Loss ratio up to which a trial is good.
    pub loss_ratio: f64,
    /// Seconds of trials by which a load is judged.
    pub duration_sum: f64,
    /// Share of those seconds that may come from bad trials.
    pub exceed_ratio: f64,
    /// Relative width of the final interval.
    pub width: f64,
}

/// No loss, and the usual 0.5 % loss.
pub const GOALS: [Goal; 2] = [
    Goal { name: "NDR", loss_ratio: 0.0, duration_sum: 20.0, exceed_ratio: 0.5, width: 0.005 },
    Goal { name: "PDR", loss_ratio: 0.005, duration_sum: 20.0, exceed_ratio: 0.5, width: 0.005 },
];

/// Judgement of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Holds,
    Fails,
    Open,
}

/// Result of the search for a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The goal.
    pub goal: Goal,
    /// Highest load that meets the goal, in packets per second; 0 if none does.
    pub holds: f64,
    /// Lowest load that does not; none if the maximum load meets the goal.
    pub fails: Option<f64>,
    /// Packets per second received at the load that meets the goal: the conditional throughput.
    pub throughput: f64,
}

/// A search with all its trials.
pub struct Search<T> {
    trials: Vec<Trial>,
    try_load: T,
    seconds: f64,
    most: f64,
}

impl<T: FnMut(f64, f64) -> Result<Trial>> Search<T> {
    /// A search with trials of this duration up to this load. `try_load` runs one, given load and seconds.
    pub fn new(most: f64, seconds: f64, try_load: T) -> Search<T> {
        Search { trials: Vec::new(), try_load, seconds, most }
    }

    /// Returns all trials so far.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    fn trial(&mut self, load: f64) -> Result<Trial> {
        let trial = (self.try_load)(load, self.seconds)?;
        self.trials.push(Trial { load, ..trial });
        Ok(trial)
    }

    /// Judges a load by its trials; the missing part of their sum may still be bad or good.
    fn verdict(&self, goal: &Goal, load: f64) -> Verdict {
        let of_load = || self.trials.iter().filter(|trial| trial.load == load);
        let sum = |bad: bool| -> f64 {
            of_load().filter(|trial| (trial.loss() > goal.loss_ratio) == bad).map(|trial| trial.seconds).sum()
        };
        let (good, bad) = (sum(false), sum(true));
        let missing = (goal.duration_sum - good - bad).max(0.0);
        let all = good + bad + missing;
        match (bad / all > goal.exceed_ratio, (bad + missing) / all > goal.exceed_ratio) {
            (true, _) => Verdict::Fails,
            (false, false) => Verdict::Holds,
            (false, true) => Verdict::Open,
        }
    }

    /// Tries a load until it is clear whether it meets the goal.
    fn judge(&mut self, goal: &Goal, load: f64) -> Result<bool> {
        loop {
            match self.verdict(goal, load) {
                Verdict::Holds => return Ok(true),
                Verdict::Fails => return Ok(false),
                Verdict::Open => drop(self.trial(load)?),
            }
        }
    }

    /// Searches for a goal. The first guess is the rate received at maximum load. From there steps of increasing length
    /// find the other end of the interval, which is then bisected.
    ///
    /// # Errors
    /// If a trial fails.
    pub fn find(&mut self, goal: Goal) -> Result<Found> {
        let flat_out = match self.trials.first() {
            Some(&first) => first,
            None => self.trial(self.most)?,
        };
        if self.judge(&goal, self.most)? {
            return Ok(self.found(goal, self.most, None));
        }
        let guess = self.most * (1.0 - flat_out.loss());
        let (mut holds, mut fails, mut step) = (0.0, self.most, goal.width);
        let mut load = guess.clamp(self.most / 1000.0, self.most * (1.0 - goal.width));
        // Down to a load that meets the goal, or up to one that does not.
        loop {
            if self.judge(&goal, load)? {
                holds = load;
                if fails < self.most {
                    break;
                }
                load *= 1.0 + step;
            } else {
                fails = load;
                if holds > 0.0 || load < self.most / 1e4 {
                    break;
                }
                load *= 1.0 - step;
            }
            step = (step * 4.0).min(0.5);
            if load >= self.most {
                break;
            }
        }
        while holds > 0.0 && (fails - holds) / fails > goal.width {
            // The geometric mean, since the width is a ratio.
            let middle = (holds * fails).sqrt();
            if self.judge(&goal, middle)? { holds = middle } else { fails = middle }
        }
        Ok(self.found(goal, holds, Some(fails)))
    }

    fn found(&self, goal: Goal, holds: f64, fails: Option<f64>) -> Found {
        let mut losses: Vec<f64> =
            self.trials.iter().filter(|trial| trial.load == holds).map(Trial::loss).collect();
        losses.sort_by(f64::total_cmp);
        // The goal allows this share of trials to be worse.
        let place = (losses.len() as f64 * (1.0 - goal.exceed_ratio)) as usize;
        let loss = losses.get(place.min(losses.len().saturating_sub(1))).copied().unwrap_or(0.0);
        Found { goal, holds, fails, throughput: holds * (1.0 - loss) }
    }
}

impl Found {
    /// JSON for the result file.
    pub fn json(&self) -> Value {
        let goal = &self.goal;
        json!({
            "goal": goal.name, "goal_loss_ratio": goal.loss_ratio, "goal_duration_sum": goal.duration_sum,
            "goal_exceed_ratio": goal.exceed_ratio, "goal_width": goal.width,
            "relevant_lower_bound_pps": self.holds, "relevant_upper_bound_pps": self.fails,
            "conditional_throughput_pps": self.throughput,
        })
    }

    /// Returns a line of the table.
    pub fn line(&self) -> String {
        let upper = self
            .fails
            .map_or("no higher load can be sent".to_owned(), |fails| format!("{:.3} does not", fails / 1e6));
        format!(
            "{}: {:.3} Mpps holds, {upper}; throughput {:.3} Mpps",
            self.goal.name,
            self.holds / 1e6,
            self.throughput / 1e6
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that loses packets above its rate, and occasionally some below it.
    fn of_rate(rate: f64, odd: u64) -> impl FnMut(f64, f64) -> Result<Trial> {
        let mut count = 0;
        move |load, seconds| {
            count += 1;
            let sent = (load * seconds) as u64;
            let lost = if odd > 0 && count % odd == 0 { 1 } else { 0 };
            let received = sent.min((rate * seconds) as u64).saturating_sub(lost);
            Ok(Trial { load, seconds, sent, received })
        }
    }

    #[test]
    fn the_rate_of_a_plain_box_is_found() {
        for rate in [1.2e6, 4.99e6, 9.0e6] {
            let mut search = Search::new(10e6, 1.0, of_rate(rate, 0));
            let found = search.find(GOALS[0]).unwrap();
            assert!(found.holds <= rate && found.fails.unwrap() > rate, "{found:?}");
            assert!(found.holds > rate * 0.994, "{found:?}");
            let partial = search.find(GOALS[1]).unwrap();
            assert!(partial.holds >= found.holds && partial.holds < rate * 1.006, "{partial:?}");
            assert!(search.trials().len() < 400, "{}", search.trials().len());
        }
    }

    #[test]
    fn a_box_that_is_faster_than_the_sender_has_no_upper_end() {
        let found = Search::new(1e6, 1.0, of_rate(5e6, 0)).find(GOALS[0]).unwrap();
        assert_eq!((found.holds, found.fails, found.throughput), (1e6, None, 1e6));
    }

    #[test]
    fn a_rare_loss_does_not_fail_a_load_and_a_frequent_one_does() {
        let rare = Search::new(1e6, 1.0, of_rate(5e6, 3)).find(GOALS[0]).unwrap();
        assert_eq!(rare.holds, 1e6);
        let always = Search::new(1e6, 1.0, of_rate(5e6, 1)).find(GOALS[0]).unwrap();
        assert_eq!(always.holds, 0.0);
    }
}

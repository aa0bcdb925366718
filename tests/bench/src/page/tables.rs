//! Parts of the page without a plot.

use std::fmt::Write;

use serde_json::Value;

use super::{Plots, number, rows, sample, word};

pub fn flood(result: &Value, text: &mut String, _: &mut Plots) {
    let of = &result["flood"];
    if of.is_null() {
        return;
    }
    let _ = writeln!(
        text,
        "{:.2} million SYNs a second from anybody against a full table of {}, in which {} connections are established: of {} \
         packets of theirs {} were lost.\n",
        number(of, "syns") / number(of, "seconds").max(1e-9) / 1e6,
        of["table"],
        of["established"],
        of["established_sent"],
        of["established_lost"]
    );
}

pub fn spread(result: &Value, text: &mut String, _: &mut Plots) {
    let mut all = rows(&result["spread"]).peekable();
    if all.peek().is_none() {
        return;
    }
    *text += "| over | flows | least, of the mean | most, of the mean |\n| --- | --- | --- | --- |\n";
    for row in all {
        let ends = (number(row, "least_of_mean"), number(row, "most_of_mean"));
        let _ =
            writeln!(text, "| {} | {} | {:.3} | {:.3} |", word(row, "over"), row["flows"], ends.0, ends.1);
    }
    *text += "\n";
}

pub fn workers(result: &Value, text: &mut String, _: &mut Plots) {
    let mut all = rows(&result["workers"]["rows"]).peekable();
    if all.peek().is_none() {
        return;
    }
    let line = number(&result["workers"], "ns_of_a_line_between_cores");
    let _ =
        writeln!(text, "A line of memory that one core has written comes to the other in {line:.0} ns.\n");
    *text += "Nanoseconds are those of a core, both cores together for each packet.\n\n\
              | method | flows of each | packets come in | Mpps | times one worker | ns | generator alone, ns | above, ns | handed over | lost |\n\
              | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.0} % | {} |",
            word(row, "method"),
            row["flows_of_each_worker"],
            word(row, "packets_come_in"),
            sample(row, "mpps", 2),
            sample(row, "times_one_worker", 2),
            sample(row, "core_ns_per_packet", 1),
            sample(row, "generator_ns_per_packet", 1),
            sample(row, "ns_above_generator", 1),
            number(row, "handed_off_part") * 100.0,
            row["lost"]
        );
    }
    *text += "\n";
}

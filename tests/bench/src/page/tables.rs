//! Parts of the report without a plot.

use std::fmt::Write;

use serde_json::Value;

use super::{Plots, number, rows, sample, word};

pub fn flood(result: &Value, text: &mut String, _: &mut Plots) {
    let flood = &result["flood"];
    if flood.is_null() {
        return;
    }
    let _ = writeln!(
        text,
        "{:.2} million SYNs per second from random sources against a full table of {} connections, {} of them established. Of \
         {} packets of established connections, {} were lost.\n",
        number(flood, "syns") / number(flood, "seconds").max(1e-9) / 1e6,
        flood["table"],
        flood["established"],
        flood["established_sent"],
        flood["established_lost"]
    );
}

pub fn spread(result: &Value, text: &mut String, _: &mut Plots) {
    let mut all = rows(&result["spread"]).peekable();
    if all.peek().is_none() {
        return;
    }
    *text += "| case | flows | minimum / mean | maximum / mean |\n| --- | --- | --- | --- |\n";
    for row in all {
        let ends = (number(row, "min_of_mean"), number(row, "max_of_mean"));
        let _ =
            writeln!(text, "| {} | {} | {:.3} | {:.3} |", word(row, "case"), row["flows"], ends.0, ends.1);
    }
    *text += "\n";
}

pub fn workers(result: &Value, text: &mut String, _: &mut Plots) {
    let mut all = rows(&result["workers"]["rows"]).peekable();
    if all.peek().is_none() {
        return;
    }
    let line = number(&result["workers"], "cache_line_transfer_ns");
    let _ = writeln!(text, "A cache line that one core wrote reaches the other in {line:.0} ns.\n");
    *text += "Nanoseconds are core time per packet, summed over the cores.\n\n\
              | method | flows per worker | packets arrive | Mpps | speedup | total, ns | generator alone, ns | net, ns | handed off | lost |\n\
              | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.0} % | {} |",
            word(row, "method"),
            row["flows_per_worker"],
            word(row, "arrival"),
            sample(row, "mpps", 2),
            sample(row, "speedup", 2),
            sample(row, "core_ns_per_packet", 1),
            sample(row, "generator_ns_per_packet", 1),
            sample(row, "ns_above_generator", 1),
            number(row, "handed_off_share") * 100.0,
            row["lost"]
        );
    }
    *text += "\n";
}

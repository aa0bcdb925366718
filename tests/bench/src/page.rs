//! The report: a page and its plots, made of nothing but the result file, so that any result can be shown again.

mod tables;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::plot::{Bars, Lines, Series};
use pollux_tests::bed::command::Result;

/// What a result file says it is.
pub const FORMAT: &str = "pollux-bench";
/// Raised when a field changes its meaning or goes.
pub const VERSION: u64 = 1;

/// Writes `report.md` and its plots.
///
/// # Errors
/// When a file cannot be written.
pub fn write(place: &Path, result: &Value) -> Result<()> {
    let mut page = String::from(
        "# A run of the benchmark\n\nWritten by `scripts/bench`; what the words mean is told in \
         [performance.md](../performance.md). Figures are medians, with the least and the most of all rounds.\n\n",
    );
    conditions(&mut page, &result["conditions"]);
    for (title, part) in PARTS {
        let mut plots = Vec::new();
        let mut text = String::new();
        part(result, &mut text, &mut plots);
        if text.is_empty() {
            continue;
        }
        let _ = writeln!(page, "## {title}\n");
        for (name, svg) in plots {
            fs::write(place.join(format!("{name}.svg")), svg)?;
            let _ = writeln!(page, "![{title}]({name}.svg)\n");
        }
        page += &text;
    }
    fs::write(place.join("report.md"), page)?;
    fs::write(place.join("result.json"), format!("{result:#}\n"))?;
    Ok(())
}

type Plots = Vec<(&'static str, String)>;
type Part = fn(&Value, &mut String, &mut Plots);

const PARTS: [(&str, Part); 8] = [
    ("Beside testpmd on the same ports", matrix),
    ("Up to ten million flows, without a driver", inside),
    ("New connections", opening),
    ("SYN flood", tables::flood),
    ("Latency", latency),
    ("Spread", tables::spread),
    ("Two workers on two cores", tables::workers),
    ("The machine's memory", memory),
];

fn conditions(page: &mut String, of: &Value) {
    *page += "| condition | |\n| --- | --- |\n";
    for (name, value) in of.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(page, "| {} | {value} |", name.replace('_', " "));
    }
    *page += "\n";
}

fn rows(of: &Value) -> impl Iterator<Item = &Value> {
    of.as_array().into_iter().flatten()
}

fn word<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or("-")
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or(0.0)
}

/// `2.10 (2.05 to 2.20)`.
fn sample(row: &Value, name: &str, digits: usize) -> String {
    let of = |end: &str| number(&row[name], end);
    format!("{:.digits$} ({:.digits$} to {:.digits$})", of("median"), of("least"), of("most"))
}

fn median(row: &Value, name: &str) -> f64 {
    number(&row[name], "median")
}

fn bytes(row: &Value) -> String {
    row["bytes_per_connection"].as_f64().map_or("-".to_owned(), |bytes| format!("{bytes:.0}"))
}

fn matrix(result: &Value, text: &mut String, plots: &mut Plots) {
    let all: Vec<&Value> = rows(&result["matrix"]).collect();
    if all.is_empty() {
        return;
    }
    let plain = |row: &&&Value| {
        (word(row, "family"), word(row, "size"), word(row, "pattern")) == ("ipv4", "64", "uniform")
    };
    let by_method = |name: &'static str| -> Vec<Series> {
        let of = |method: &str| {
            let mine = all.iter().filter(plain).filter(|row| word(row, "method") == method);
            (method.to_uppercase(), mine.map(|row| (number(row, "flows"), median(row, name))).collect())
        };
        ["nat", "dr", "ipip", "gue"]
            .map(of)
            .into_iter()
            .filter(|(_, points): &Series| !points.is_empty())
            .collect()
    };
    for (file, title, up, name) in [
        ("ratio", "Cycles per packet, as a multiple of testpmd macswap", "times", "ratio"),
        ("above", "Nanoseconds per packet above testpmd macswap", "ns", "ns_above_testpmd"),
    ] {
        plots.push((
            file,
            Lines { title, across: "flows (IPv4, 64 bytes, uniform)", up, series: by_method(name) }.svg(),
        ));
    }
    *text += "| IP | bytes | flows | pattern | method | polluxd, cycles | testpmd, cycles | ratio | ns above testpmd | Mpps | bytes a connection |\n\
              | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} | {} |",
            word(row, "family"),
            word(row, "size"),
            row["flows"],
            word(row, "pattern"),
            word(row, "method"),
            sample(row, "polluxd_cycles_per_packet", 1),
            sample(row, "testpmd_cycles_per_packet", 1),
            sample(row, "ratio", 2),
            sample(row, "ns_above_testpmd", 1),
            median(row, "polluxd_mpps"),
            bytes(row)
        );
    }
    *text += "\n";
}

fn inside(result: &Value, text: &mut String, plots: &mut Plots) {
    let all: Vec<&Value> = rows(&result["inside"]).collect();
    if all.is_empty() {
        return;
    }
    let name =
        |row: &Value| format!("{} flows, {}, {}", row["flows"], word(row, "pattern"), word(row, "method"));
    let groups = all.iter().map(|row| (name(row), vec![median(row, "ns_above_generator")])).collect();
    let title = "Nanoseconds per packet above the generator alone";
    plots.push(("inside", Bars { title, names: &["ns"], groups, log: false }.svg()));
    *text += "| flows | pattern | method | in all, ns | generator alone, ns | above, ns | bytes a connection |\n\
              | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row["flows"],
            word(row, "pattern"),
            word(row, "method"),
            sample(row, "ns_per_packet", 1),
            sample(row, "generator_ns_per_packet", 1),
            sample(row, "ns_above_generator", 1),
            bytes(row)
        );
    }
    *text += "\n";
}

fn opening(result: &Value, text: &mut String, plots: &mut Plots) {
    let all: Vec<&Value> = rows(&result["opening"]).collect();
    if all.is_empty() {
        return;
    }
    let groups =
        all.iter().map(|row| (word(row, "opened_by").to_owned(), vec![median(row, "million_a_second")]));
    let title = "Million new connections a second, as many ending";
    plots.push(("opening", Bars { title, names: &["million"], groups: groups.collect(), log: false }.svg()));
    *text += "| opened by | million a second | ns each | of them the generator's | live | given up | dropped |\n\
              | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            word(row, "opened_by"),
            sample(row, "million_a_second", 2),
            sample(row, "ns_each", 0),
            sample(row, "generator_ns_each", 0),
            row["live"],
            row["evicted"],
            row["dropped"]
        );
    }
    *text += "\n";
}

fn latency(result: &Value, text: &mut String, plots: &mut Plots) {
    let all: Vec<&Value> = rows(&result["latency"]["rows"]).collect();
    if all.is_empty() {
        return;
    }
    let micros = |row: &Value, name: &str| number(&row["nanoseconds"], name) / 1000.0;
    let of = |row: &&Value| {
        let name = format!("{}, {} %", word(row, "situation"), row["load_percent"]);
        (name, ["p50", "p99", "p99.9", "max"].map(|name| micros(row, name)).to_vec())
    };
    let names = ["p50", "p99", "p99.9", "max"];
    let title = "Microseconds from due to sent";
    plots.push((
        "latency",
        Bars { title, names: &names, groups: all.iter().map(of).collect(), log: true }.svg(),
    ));
    let _ = writeln!(
        text,
        "Full speed is {:.2} Mpps. Microseconds:\n\n| situation | load | min | p50 | p99 | p99.9 | max | lost | |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        number(&result["latency"], "full_mpps")
    );
    for row in all {
        let _ = write!(text, "| {} | {} % |", word(row, "situation"), row["load_percent"]);
        for name in ["min", "p50", "p99", "p99.9", "max"] {
            let _ = write!(text, " {:.2} |", micros(row, name));
        }
        let _ = writeln!(text, " {} | {} |", row["lost"], word(row, "note"));
    }
    *text += "\n";
}

fn memory(result: &Value, text: &mut String, plots: &mut Plots) {
    let all: Vec<&Value> = rows(&result["memory"]).collect();
    if all.is_empty() {
        return;
    }
    let pages = |row: &Value| if row["huge_pages"] == true { "2 MiB" } else { "4 KiB" };
    let mut series: Vec<Series> = Vec::new();
    for (name, words) in [("ns_alone", "alone"), ("ns_of_16_side_by_side", "16 at once")] {
        for size in ["4 KiB", "2 MiB"] {
            let mine = all.iter().filter(|row| pages(row) == size);
            let points: Vec<(f64, f64)> =
                mine.map(|row| (number(row, "bytes") / 1024.0, number(row, name))).collect();
            if !points.is_empty() {
                series.push((format!("{words}, {size}"), points));
            }
        }
    }
    let title = "A load from memory of this size";
    plots.push(("memory", Lines { title, across: "KiB (pages in the legend)", up: "ns", series }.svg()));
    *text += "| KiB | pages | a load that waits for the last, ns | one of 16 side by side, ns |\n| --- | --- | --- | --- |\n";
    for row in all {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} |",
            number(row, "bytes") / 1024.0,
            pages(row),
            number(row, "ns_alone"),
            number(row, "ns_of_16_side_by_side")
        );
    }
    *text += "\n";
}

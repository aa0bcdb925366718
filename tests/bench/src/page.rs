//! The report: a page and its plots. It is made from the result file alone, so it can be written again at any time.

mod tables;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::plot::{Bars, Lines, Series};
use pollux_tests::bed::command::Result;

/// Value of `format` in a result file.
pub const FORMAT: &str = "pollux-bench";
/// Increased when a field changes its meaning or is removed.
pub const VERSION: u64 = 2;

/// Writes `report.md` and its plots.
///
/// # Errors
/// If a file cannot be written.
pub fn write(place: &Path, result: &Value) -> Result<()> {
    let mut page = String::from(
        "# Benchmark report\n\nWritten by `scripts/bench`; [performance.md](../performance.md) explains the terms. Figures are \
         medians, with minimum and maximum of all rounds in parentheses.\n\n",
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
    ("Compared with testpmd on the same ports", matrix),
    ("Up to ten million flows, without a driver", inside),
    ("New connections", opening),
    ("SYN flood", tables::flood),
    ("Latency", latency),
    ("Distribution of flows", tables::spread),
    ("Two workers on two cores", tables::workers),
    ("Memory latency of the machine", memory),
];

fn conditions(page: &mut String, values: &Value) {
    *page += "| condition | |\n| --- | --- |\n";
    for (name, value) in values.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(page, "| {} | {value} |", name.replace('_', " "));
    }
    *page += "\n";
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn word<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or("-")
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or(0.0)
}

/// `2.10 (2.05 to 2.20)`.
fn sample(row: &Value, name: &str, digits: usize) -> String {
    let value = |end: &str| number(&row[name], end);
    format!("{:.digits$} ({:.digits$} to {:.digits$})", value("median"), value("min"), value("max"))
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
        let group = |method: &str| {
            let mine = all.iter().filter(plain).filter(|row| word(row, "method") == method);
            (method.to_uppercase(), mine.map(|row| (number(row, "flows"), median(row, name))).collect())
        };
        ["nat", "dr", "ipip", "gue"]
            .map(group)
            .into_iter()
            .filter(|(_, points): &Series| !points.is_empty())
            .collect()
    };
    for (file, title, y_label, name) in [
        (
            "ratio",
            "Cycles per packet relative to testpmd macswap",
            "cycles per packet, ratio to testpmd",
            "ratio",
        ),
        (
            "above",
            "Nanoseconds per packet above testpmd macswap",
            "ns per packet above testpmd",
            "ns_above_testpmd",
        ),
    ] {
        plots.push((
            file,
            Lines {
                title,
                x_label: "number of flows (IPv4, 64 bytes, uniform)",
                y_label,
                series: by_method(name),
            }
            .svg(),
        ));
    }
    matrix_table(&all, text);
}

fn matrix_table(all: &[&Value], text: &mut String) {
    *text += "| IP | bytes | flows | pattern | method | polluxd, cycles | testpmd, cycles | ratio | ns above testpmd | Mpps | bytes per connection |\n\
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
    let name = |row: &Value| {
        let millions = number(row, "flows") / 1e6;
        let method = word(row, "method").to_uppercase();
        format!("{millions} million flows, {}, {method}", word(row, "pattern"))
    };
    let groups = all.iter().map(|row| (name(row), vec![median(row, "ns_above_generator")])).collect();
    let title = "Nanoseconds per packet above the generator alone";
    plots.push((
        "inside",
        Bars { title, x_label: "ns per packet above the generator", names: &["ns"], groups, log: false }
            .svg(),
    ));
    *text += "| flows | pattern | method | total, ns | generator alone, ns | net, ns | bytes per connection |\n\
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
    let all: Vec<&Value> = rows(&result["new_connections"]).collect();
    if all.is_empty() {
        return;
    }
    let groups =
        all.iter().map(|row| (word(row, "case").to_owned(), vec![median(row, "million_per_second")]));
    let title = "New connections per second, with as many ending";
    plots.push((
        "opening",
        Bars {
            title,
            x_label: "million connections per second",
            names: &["million"],
            groups: groups.collect(),
            log: false,
        }
        .svg(),
    ));
    *text += "| case | million per second | ns each | of that generator, ns | live | evicted | dropped |\n\
              | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            word(row, "case"),
            sample(row, "million_per_second", 2),
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
    let group = |row: &&Value| {
        let name = format!("{}, {} %", word(row, "situation"), row["load_percent"]);
        (name, ["p50", "p99", "p99.9", "max"].map(|name| micros(row, name)).to_vec())
    };
    let names = ["p50", "p99", "p99.9", "max"];
    let title = "Latency from due to sent, by situation and load";
    plots.push((
        "latency",
        Bars {
            title,
            x_label: "latency in µs",
            names: &names,
            groups: all.iter().map(group).collect(),
            log: true,
        }
        .svg(),
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
    for (name, words) in [("dependent_load_ns", "dependent"), ("parallel_load_ns", "16 in parallel")] {
        for size in ["4 KiB", "2 MiB"] {
            let mine = all.iter().filter(|row| pages(row) == size);
            let points: Vec<(f64, f64)> =
                mine.map(|row| (number(row, "bytes") / 1024.0, number(row, name))).collect();
            if !points.is_empty() {
                series.push((format!("{words}, {size} pages"), points));
            }
        }
    }
    let title = "Memory latency by working set size";
    plots.push((
        "memory",
        Lines { title, x_label: "working set in KiB", y_label: "ns per load", series }.svg(),
    ));
    *text +=
        "| KiB | page size | dependent load, ns | one of 16 in parallel, ns |\n| --- | --- | --- | --- |\n";
    for row in all {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} |",
            number(row, "bytes") / 1024.0,
            pages(row),
            number(row, "dependent_load_ns"),
            number(row, "parallel_load_ns")
        );
    }
    *text += "\n";
}

//! The report of a small result.

use serde_json::json;

use super::*;

#[test]
fn every_measured_part_is_shown() {
    let sample = json!({ "median": 2.0, "min": 1.5, "max": 2.5, "all": [1.5, 2.0, 2.5] });
    let nanos = json!({ "min": 100, "p50": 500, "p99": 900, "p99.9": 1000, "max": 12_000 });
    let result = json!({
        "conditions": { "cpu": "a", "huge_pages": 7 },
        "matrix": [{ "family": "ipv4", "size": "64", "pattern": "uniform", "flows": 1000, "method": "nat",
            "polluxd_cycles_per_packet": sample, "testpmd_cycles_per_packet": sample, "ratio": sample,
            "ns_above_testpmd": sample, "polluxd_mpps": sample, "bytes_per_connection": null }],
        "inside": [{ "flows": 10, "pattern": "zipf", "method": "dr", "ns_per_packet": sample,
            "generator_ns_per_packet": sample, "ns_above_generator": sample, "bytes_per_connection": 95.2 }],
        "new_connections": [{ "case": "UDP", "million_per_second": sample, "ns_each": sample,
            "generator_ns_each": sample, "live": 5, "evicted": 0, "dropped": 0 }],
        "flood": { "syns": 9_000_000, "seconds": 3.0, "table": 10, "established": 1, "established_sent": 7,
            "established_lost": 0 },
        "latency": { "full_mpps": 9.0, "rows": [{ "situation": "idle control plane", "load_percent": 50, "mpps": 4.5,
            "nanoseconds": nanos, "lost": 0, "note": "" }] },
        "spread": [{ "case": "2 workers", "flows": 10, "counts": [4, 6], "min_of_mean": 0.8, "max_of_mean": 1.2 }],
        "workers": { "cache_line_transfer_ns": 98.7, "rows": [{ "method": "nat", "flows_per_worker": 1000, "arrival": "two, all at the other worker",
            "mpps": sample, "speedup": sample, "core_ns_per_packet": sample,
            "generator_ns_per_packet": sample, "ns_above_generator": sample, "handed_off_share": 1.0, "lost": 0 }] },
        "memory": [{ "bytes": 65536, "huge_pages": true, "dependent_load_ns": 1.5, "parallel_load_ns": 0.5 }],
    });
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &result).unwrap();
    let page = fs::read_to_string(place.path().join("report.md")).unwrap();
    for line in [
        "| huge pages | 7 |",
        "| ipv4 | 64 | 1000 | uniform | nat | 2.0 (1.5 to 2.5) |",
        "| 10 | zipf | dr | 2.0 (1.5 to 2.5) |",
        "| UDP | 2.00 (1.50 to 2.50) |",
        "3.00 million SYNs per second",
        "| idle control plane | 50 % | 0.10 | 0.50 | 0.90 | 1.00 | 12.00 | 0 |",
        "| 2 workers | 10 | 0.800 | 1.200 |",
        "reaches the other in 99 ns",
        "| nat | 1000 | two, all at the other worker | 2.00 (1.50 to 2.50) |",
        "| 64 | 2 MiB | 1.50 | 0.50 |",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    for plot in ["ratio", "above", "inside", "opening", "latency", "memory"] {
        assert!(place.path().join(format!("{plot}.svg")).is_file(), "{plot}");
        assert!(page.contains(&format!("({plot}.svg)")), "{plot}");
    }
}

#[test]
fn parts_that_were_not_measured_are_left_out() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &json!({ "conditions": {} })).unwrap();
    let page = fs::read_to_string(place.path().join("report.md")).unwrap();
    assert!(!page.contains("## "), "{page}");
}

//! The `pollux` program from outside: output and exit statuses, without a daemon.

use std::process::{Command, Output};

fn pollux(args: &[&str]) -> Output {
    let mut pollux = Command::new(env!("CARGO_BIN_EXE_pollux"));
    pollux.args(args).env_remove("POLLUX_SOCKET").env_remove("POLLUX_NAMESPACE").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_has_examples() {
    let out = pollux(&["--help"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stdout).contains("pollux service add tcp 10.9.9.1:80 --scheduler wlc"));
}

#[test]
fn usage_errors_exit_with_2() {
    for args in
        [&["lits"][..], &["service", "add", "tcp", "10.9.9.1"], &["service", "add", "icmp", "10.9.9.1:80"]]
    {
        assert_eq!(pollux(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn without_a_daemon_the_error_has_a_hint() {
    let out = pollux(&["list", "--socket", "/nonexistent/s"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).starts_with("pollux: cannot reach polluxd at /nonexistent/s: "), "{out:?}");
}

#[test]
fn ipvsadm_gets_its_arguments_unchanged() {
    let version = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("ipvsadm");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pollux"), &link).unwrap();
    let by_name = |args: &[&str]| {
        Command::new(&link).args(args).env("POLLUX_SOCKET", "/nonexistent/s").output().unwrap()
    };
    let outputs = [
        pollux(&["ipvsadm", "-v"]),
        pollux(&["--socket", "/nonexistent/s", "ipvsadm", "--version"]),
        by_name(&["-v"]),
    ];
    for out in outputs {
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), version.to_owned()), "{out:?}");
    }
    assert!(text(&by_name(&["-h"]).stdout).contains("--add-service     -A        add virtual service"));
    for args in [&[][..], &["-Ln"], &["--json"], &["-A", "-t", "nonsense"]] {
        let out = by_name(args);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(2), String::new()), "{args:?}");
        assert!(
            text(&out.stderr).starts_with("Can't initialize ipvs: no polluxd at /nonexistent/s: "),
            "{out:?}"
        );
    }
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_slice(&pollux(&["schema"]).stdout).unwrap();
    assert!(schema["config"]["properties"]["services"].is_object());
}

#[test]
fn check_reports_every_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pollux.toml");
    let check = |config: &str| {
        std::fs::write(&file, config).unwrap();
        pollux(&["check", &file.to_string_lossy()])
    };
    assert_eq!(check("").status.code(), Some(0));
    let out = check("settings = { tcp_timeout = 0, udp_timeout = 0 }");
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("settings.tcp_timeout: 0 seconds"), "{out:?}");
    assert!(text(&out.stderr).contains("settings.udp_timeout: 0 seconds"), "{out:?}");
    assert!(text(&check("[settings]\nx = 1").stderr).contains("pollux.toml:2:1: "));
}

#[test]
fn check_names_the_line_of_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pollux.toml");
    std::fs::write(&file, "[settings]\nudp_timeout = 5\ntcp_timeout = 0\n").unwrap();
    let out = pollux(&["check", &file.to_string_lossy()]);
    let expected = format!("pollux: {}:3: settings.tcp_timeout: 0 seconds", file.display());
    assert!(text(&out.stderr).starts_with(&expected), "{out:?}");
}

#[test]
fn with_json_errors_are_json_on_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pollux.toml");
    std::fs::write(&file, "[settings]\ntcp_timeout = 0\n").unwrap();
    let failed = |args: &[&str], status| {
        let out = pollux(args);
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(status), String::new()), "{args:?}");
        serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap()
    };
    let errors = failed(&["check", "--json", &file.to_string_lossy()], 1);
    assert_eq!(errors[0]["location"], "settings.tcp_timeout");
    assert!(errors[0]["hint"].is_string() && errors[0]["error"].is_string(), "{errors}");
    let error = failed(&["--json", "list", "--socket", "/nonexistent/s"], 1);
    assert!(
        error["message"].as_str().unwrap().starts_with("cannot reach polluxd at /nonexistent/s"),
        "{error}"
    );
    let error = failed(&["debug", "--json", "--socket", "/nonexistent/s", "set", "+p"], 1);
    assert!(error["message"].as_str().unwrap().starts_with("cannot reach polluxd"), "{error}");
    failed(&["debug", "--json"], 2);
    failed(&["debug", "--json", "--follow", "sites"], 2);
}

#[test]
fn empty_variables_of_the_environment_count_as_unset() {
    let run = |socket: &str, args: &[&str]| {
        let mut pollux = Command::new(env!("CARGO_BIN_EXE_pollux"));
        pollux.args(args).env("POLLUX_NAMESPACE", "").env("POLLUX_SOCKET", socket).output().unwrap()
    };
    let unreachable = |socket: &str| text(&run(socket, &["--json", "list"]).stdout);
    assert!(unreachable("/nonexistent/s").contains("cannot reach polluxd at /nonexistent/s"));
    // A daemon may be running on the default socket.
    assert!(!unreachable("").contains("cannot reach polluxd at :"));
    let usage = text(&run("/nonexistent/s", &["service", "add", "--foo"]).stderr);
    assert!(usage.contains("Usage:") && !usage.contains("--socket <PATH>"), "{usage}");
}

#[test]
fn check_host_prints_json() {
    let out = pollux(&["check-host", "--json"]);
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&out.stdout).unwrap();
    let failed = checks.iter().any(|check| check["outcome"] == "fail");
    assert_eq!(out.status.code(), Some(i32::from(failed)));
    assert!(checks.iter().all(|check| check["found"].is_string() && check["needed"].is_string()));
}

#[test]
fn every_command_has_help() {
    let commands: [&[&str]; 20] = [
        &["flush"],
        &["settings"],
        &["settings", "set"],
        &["man"],
        &["check-host"],
        &["service", "add"],
        &["destination", "edit"],
        &["replay"],
        &["list"],
        &["sysctl"],
        &["fwmarks"],
        &["fwmarks", "set"],
        &["zero"],
        &["debug", "sites"],
        &["debug", "set"],
        &["debug", "level"],
        &["modules"],
        &["modules", "disable"],
        &["service", "edit"],
        &["destination", "add"],
    ];
    for command in commands {
        let out = pollux(&[command, &["--help"]].concat());
        assert_eq!(out.status.code(), Some(0), "{command:?}");
        let usage = format!("Usage: pollux {}", command.join(" "));
        assert!(text(&out.stdout).contains(&usage), "{}", text(&out.stdout));
    }
    assert!(text(&pollux(&["settings", "--help"]).stdout).contains("pollux settings set tcp_timeout=600"));
}

#[test]
fn a_wrong_setting_is_refused_without_a_daemon() {
    let out = pollux(&["settings", "set", "tcp_timeuot=5"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).contains("there is no setting tcp_timeuot; use one of tcp_timeout,"),
        "{out:?}"
    );
    assert_eq!(pollux(&["settings", "set"]).status.code(), Some(2));
}

#[test]
fn contradictory_arguments_exit_with_2() {
    let out = pollux(&["service", "add", "tcp", "7"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("write `tcp 10.9.9.1:7`, or `fwmark 7`"), "{out:?}");
    let out = pollux(&["service", "add", "fwmark", "abc"]);
    assert!(text(&out.stderr).contains("\"abc\" is neither a firewall mark, as in `fwmark 7`"), "{out:?}");
}

#[test]
fn a_fwmarks_file_has_only_fwmarks() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fwmarks.toml");
    let set = |text: &str| {
        std::fs::write(&file, text).unwrap();
        pollux(&["--socket", "/nonexistent/s", "fwmarks", "set", &file.to_string_lossy()])
    };
    assert!(text(&set("[[fwmarks]]\nfwmark = 7\n").stderr).contains("cannot reach polluxd"));
    assert!(text(&set("[[fwmarks]]\nvlan = 7\n").stderr).contains("missing field `fwmark`"));
    assert!(text(&set("[[marks]]\nmark = 7\n").stderr).contains("marks: only [[fwmarks]] is allowed here"));
    let more = set("settings.tcp_timeout = 5\n[[fwmarks]]\nfwmark = 7\n");
    assert_eq!(more.status.code(), Some(2));
    assert!(text(&more.stderr).contains("settings: only [[fwmarks]] is allowed here"), "{more:?}");
}

#[test]
fn manual_pages_are_written() {
    let out = pollux(&["man"]);
    assert!(text(&out.stdout).contains(".TH pollux 1"), "{}", text(&out.stdout));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(pollux(&["man", "--dir", &dir.path().to_string_lossy()]).status.code(), Some(0));
    for page in [
        "pollux.1",
        "pollux-flush.1",
        "pollux-settings-set.1",
        "pollux-service-add.1",
        "polluxd.8",
        "ipvsadm.8",
    ] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
    let missing = pollux(&["man", "--dir", "/nonexistent"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("does the directory exist?"), "{missing:?}");
}

#[test]
fn errors_in_a_sysctl_file_have_line_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vs.conf");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        pollux(&["--socket", "/nonexistent/s", "sysctl", "-p", &file.to_string_lossy()])
    };
    let out = load("net.ipv4.vs.nosuch = 1\n# fine\nnet.ipv4.vs.drop_entry 3\n");
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("vs.conf:1: net.ipv4.vs.nosuch: No such file or directory"),
        "{out:?}"
    );
    assert!(text(&out.stderr).contains("vs.conf:3: \"net.ipv4.vs.drop_entry 3\" has no value"), "{out:?}");
    let out = load("net.ipv4.ip_forward = 1\nnet.ipv4.vs.drop_entry = 3\n");
    assert!(
        text(&out.stderr).contains("vs.conf:1: net.ipv4.ip_forward: ignored, not in net.ipv4.vs"),
        "{out:?}"
    );
    assert!(text(&out.stderr).contains("cannot reach polluxd"), "{out:?}");
    let missing = pollux(&["sysctl", "-p", "/nonexistent/vs.conf"]);
    assert!(text(&missing.stderr).contains("cannot open \"/nonexistent/vs.conf\""), "{missing:?}");
}

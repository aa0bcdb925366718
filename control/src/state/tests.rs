//! Tests of the state file: writing, invalid files, the choice at start, and failing disks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use crossbeam::channel;

use super::file::{self, SavedState, StateError, VERSION};
use super::startup::{StartupConfig, StartupError, load};
use super::writer::{PendingReply, Writer};
use crate::api::request::{Done, Reply};
use crate::daemon::arguments::Options;
use crate::log::Level;
use crate::model::{Config, Family, Service, ServiceKey};

fn config(fwmark: u32) -> Config {
    let mut config = Config::default();
    config.settings.tcp_timeout = 77;
    config.services.push(Service::new(ServiceKey::Fwmark { fwmark, family: Family::Ipv4 }));
    config
}

fn saved(fwmark: u32) -> SavedState {
    SavedState { version: VERSION, file: Some("a-1".to_owned()), applied: None, config: config(fwmark) }
}

struct Bed(tempfile::TempDir);

impl Bed {
    fn new() -> Bed {
        Bed(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state.json")
    }

    fn load(&self, more: &[&str]) -> Result<StartupConfig, StartupError> {
        let state = self.path();
        let mut args = vec!["polluxd", "--state", state.to_str().unwrap()];
        args.extend(more);
        load(Options::try_parse_from(args).unwrap().sources())
    }

    fn write_config(&self, text: &str) -> String {
        let path = self.0.path().join("pollux.toml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// How long a test waits for the writer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until the writer's counters satisfy `done`.
fn wait_until(writer: &Writer, done: impl Fn(&crate::api::view::StateView) -> bool) {
    let began = Instant::now();
    while !done(&writer.view()) {
        assert!(began.elapsed() < TIMEOUT, "{:?}", writer.view());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_state_file_can_be_read_again_and_only_by_its_owner() {
    let bed = Bed::new();
    assert_eq!(file::read(&bed.path()).unwrap(), None);
    file::write(&bed.path(), &saved(1)).unwrap();
    file::write(&bed.path(), &saved(2)).unwrap();
    assert_eq!(file::read(&bed.path()).unwrap(), Some(saved(2)));
    assert_eq!(bed.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(bed.names(), ["state.json"], "nothing else is left");
}

#[test]
fn errors_in_a_state_file_name_their_location() {
    let bed = Bed::new();
    let text = serde_json::to_string(&saved(1)).unwrap();
    let rows = [
        (
            text[..text.len() / 2].replace("\"version\":2", "\"version\":1"),
            "1:12: version: the file has version 1, and this polluxd reads version 2",
        ),
        (
            text.replace("\"tcp_timeout\":77", "\"tcp_timeout\":\"x\""),
            "config.settings.tcp_timeout: \"x\" is not a whole number; use 0 to 4294967295",
        ),
        (text.replace("\"tcp_timeout\":77", "\"tcp_timeout\":0"), "config.settings.tcp_timeout: 0 seconds"),
        (text.replace("\"config\"", "\"confug\""), "confug: unknown field `confug`"),
        (text[..text.len() / 2].to_owned(), "it is truncated"),
        (format!("{text}{text}"), "trailing characters"),
        (String::new(), "1:0: the text ends too early"),
        ("\0\0\0\0".to_owned(), "1:1: expected value"),
    ];
    for (text, expected) in rows {
        fs::write(bed.path(), &text).unwrap();
        let error = file::read(&bed.path()).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(error.to_string().starts_with(&bed.path().display().to_string()), "{error}");
    }
    fs::remove_file(bed.path()).unwrap();
    fs::create_dir(bed.path()).unwrap();
    assert!(matches!(file::read(&bed.path()), Err(StateError::Read { .. })));
}

#[test]
fn the_state_file_takes_precedence_while_the_configuration_file_is_unchanged() {
    let bed = Bed::new();
    let path = bed.write_config("[settings]\ntcp_timeout = 5");
    let startup = bed.load(&["--config", &path]).unwrap();
    assert_eq!((startup.config.settings.tcp_timeout, startup.from_state), (5, false));
    let state_file = startup.state_file.unwrap();
    let edited = SavedState { file: state_file.file.clone(), ..saved(9) };
    drop(state_file);
    file::write(&bed.path(), &edited).unwrap();
    let startup = bed.load(&["--config", &path]).unwrap();
    assert_eq!((startup.config, startup.from_state), (config(9), true));
    assert!(startup.messages[0].1.contains(", 1 service;"), "{:?}", startup.messages);
    drop(startup.state_file);
    assert_eq!(bed.load(&[]).unwrap().config, config(9), "no file at all");
    assert_eq!(bed.load(&["--no-state"]).unwrap().config, Config::default());
}

#[test]
fn a_changed_configuration_file_takes_precedence_unless_it_was_applied() {
    let bed = Bed::new();
    let path = bed.write_config("[settings]\ntcp_timeout = 6");
    let digest = bed.load(&["--config", &path]).unwrap().state_file.unwrap().file.unwrap();
    file::write(&bed.path(), &SavedState { applied: Some(digest.clone()), ..saved(3) }).unwrap();
    let startup = bed.load(&["--config", &path]).unwrap();
    assert_eq!(
        (startup.config, startup.state_file.unwrap().applied),
        (config(3), Some(digest)),
        "it was applied"
    );
    let path = bed.write_config("[settings]\ntcp_timeout = 7");
    let startup = bed.load(&["--config", &path]).unwrap();
    assert_eq!((startup.config.settings.tcp_timeout, startup.from_state), (7, false));
    assert!(startup.messages[0].1.contains("has changed since"), "{:?}", startup.messages);
    assert_eq!(file::read(&bed.path().with_extension("json.old")).unwrap().unwrap().config, config(3));
}

#[test]
fn an_invalid_state_file_is_renamed_and_not_used() {
    let bed = Bed::new();
    fs::write(bed.path(), "{\"version\":2,\"config\":{\"settings\":{\"tcp_timeout\":5},\"services\":7}}")
        .unwrap();
    let startup = bed.load(&[]).unwrap();
    assert_eq!((startup.config, startup.from_state), (Config::default(), false));
    assert!(
        startup.messages[0].1.contains("state.json:1:64: config.services: must be a list"),
        "{:?}",
        startup.messages
    );
    assert!(
        startup.messages[0].1.ends_with("starting from an empty configuration"),
        "{:?}",
        startup.messages
    );
    let levels: Vec<Level> = startup.messages.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Level::Warn, Level::Info]);
    let aside = bed.names().into_iter().find(|name| name.starts_with("state.json.broken-")).unwrap();
    assert!(fs::read_to_string(bed.0.path().join(aside)).unwrap().contains("\"services\":7"));
    assert!(!bed.path().exists());
}

#[test]
fn a_state_file_of_another_version_prevents_the_start_and_is_kept() {
    let bed = Bed::new();
    let text = "{\"version\":1,\"settings\":{\"tcp_timeout\":5}}";
    fs::write(bed.path(), text).unwrap();
    let config = bed.write_config("[settings]\ntcp_timeout = 6");
    let path = bed.path().display().to_string();
    for more in [&[][..], &["--config", &config]] {
        let refused = bed.load(more).unwrap_err().to_string();
        let expected = format!(
            "state file {path}: the file has version 1, and this polluxd reads version 2; start with --fresh to begin \
             without it (it is kept as {path}.version-1);"
        );
        assert!(refused.starts_with(&expected), "{refused}");
        assert_eq!(fs::read_to_string(bed.path()).unwrap(), text);
    }
    assert_eq!(bed.load(&["--fresh", "--config", &config]).unwrap().config.settings.tcp_timeout, 6);
    assert_eq!(fs::read_to_string(format!("{path}.version-1")).unwrap(), text);
    assert!(!bed.path().exists());
}

#[test]
fn a_debug_level_of_the_command_line_is_not_saved() {
    let bed = Bed::new();
    let mut startup = bed.load(&[]).unwrap();
    startup.config.settings.debug_level = 2;
    startup.override_debug_level(7);
    assert_eq!(startup.config.settings.debug_level, 7);
    let writer = Writer::start(startup.state_file.take().unwrap(), false).unwrap();
    for (running, saved) in [(7, 2), (0, 0), (3, 3)] {
        let mut config = config(1);
        config.settings.debug_level = running;
        writer.enqueue(config, None);
        wait_until(&writer, |view| !view.pending);
        assert_eq!(file::read(&bed.path()).unwrap().unwrap().config.settings.debug_level, saved);
    }
}

#[test]
fn fresh_renames_the_old_state_file() {
    let bed = Bed::new();
    file::write(&bed.path(), &saved(1)).unwrap();
    assert_eq!(bed.load(&["--fresh"]).unwrap().config, Config::default());
    assert!(!bed.path().exists() && bed.path().with_extension("json.old").exists());
}

#[test]
fn two_daemons_cannot_share_a_state_file() {
    let bed = Bed::new();
    let first = bed.load(&[]).unwrap();
    assert!(matches!(bed.load(&[]), Err(StartupError::InUse(_))));
    drop(first);
    bed.load(&[]).unwrap();
}

#[test]
fn an_invalid_configuration_file_prevents_the_start() {
    let bed = Bed::new();
    file::write(&bed.path(), &saved(1)).unwrap();
    let path = bed.write_config("[settings]\ntcp_timeout = 0");
    assert!(matches!(bed.load(&["--config", &path]), Err(StartupError::InputErrors(_))));
    assert!(bed.path().exists());
}

#[test]
fn pending_changes_share_one_write_and_the_last_is_written() {
    let bed = Bed::new();
    let writer = Writer::start(bed.load(&[]).unwrap().state_file.unwrap(), false).unwrap();
    for fwmark in 1..=1000 {
        writer.enqueue(config(fwmark), None);
    }
    wait_until(&writer, |view| !view.pending);
    assert_eq!(file::read(&bed.path()).unwrap().unwrap().config, config(1000));
    assert!(writer.view().written < 500, "{:?}", writer.view());
    writer.enqueue(config(7), None);
    drop(writer);
    assert_eq!(
        file::read(&bed.path()).unwrap().unwrap().config,
        config(7),
        "the last change is written when the writer stops"
    );
}

#[test]
fn with_sync_replies_wait_for_the_disk() {
    let bed = Bed::new();
    let writer = Writer::start(bed.load(&[]).unwrap().state_file.unwrap(), true).unwrap();
    for fwmark in 1..=20 {
        let (to, answered) = channel::bounded(1);
        writer.enqueue(config(fwmark), Some(PendingReply { to, reply: Ok(Reply::Done(Done {})) }));
        assert_eq!(answered.recv_timeout(TIMEOUT).unwrap(), Ok(Reply::Done(Done {})));
        assert_eq!(file::read(&bed.path()).unwrap().unwrap().config, config(fwmark));
    }
}

/// A directory in place of the file makes writes fail, like a full disk.
#[test]
fn failed_writes_are_counted_and_do_not_delay_replies() {
    let bed = Bed::new();
    let state_file = bed.load(&[]).unwrap().state_file.unwrap();
    fs::create_dir_all(bed.path().join("obstacle")).unwrap();
    let writer = Writer::start(state_file, true).unwrap();
    let ask = |fwmark| {
        let (to, answered) = channel::bounded(1);
        writer.enqueue(config(fwmark), Some(PendingReply { to, reply: Ok(Reply::Done(Done {})) }));
        answered.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    };
    ask(1);
    wait_until(&writer, |view| view.failed > 0);
    ask(2);
    assert!(writer.view().error.is_some() && writer.view().written == 0);
    assert_eq!(bed.names(), ["state.json", "state.json.lock"], "the incomplete file is removed");
    fs::remove_dir_all(bed.path()).unwrap();
    wait_until(&writer, |view| view.written > 0 && view.error.is_none());
    assert_eq!(file::read(&bed.path()).unwrap().unwrap().config, config(2));
}

#[test]
fn without_a_writable_directory_the_daemon_starts_and_warns() {
    let options = ["polluxd", "--state", "/proc/nowhere/state.json"];
    let startup = load(Options::try_parse_from(options).unwrap().sources()).unwrap();
    assert!(startup.messages[0].1.contains("changes may be lost at a restart"), "{:?}", startup.messages);
    let writer = Writer::start(startup.state_file.unwrap(), false).unwrap();
    writer.enqueue(config(1), None);
    wait_until(&writer, |view| view.failed > 0);
    assert_eq!(writer.view().path, Path::new("/proc/nowhere/state.json"));
}

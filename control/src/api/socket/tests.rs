//! A real socket with a small daemon behind it.

mod clients;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel;
use serde_json::{Value, json};

use super::client::{Client, ClientError};
use super::limits::Limits;
use super::server::{Job, Server, ServerError};
use crate::api::error::Failure;
use crate::api::follow::{Followers, QUEUE_LEN};
use crate::api::request::{Done, NoParams, Reply, Request, ServiceRemove};
use crate::api::view::brief::BriefList;
use crate::api::view::{DebugEvent, Rates, ServiceList, ServiceView, Stats};
use crate::model::edit::{EditError, Errno};
use crate::model::{Config, Family, Protocol, Scheduler, SchedulerFlags, ServiceKey};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Calls `ask` until it returns a value; fails after [`TIMEOUT`].
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(response) = ask() {
            return response;
        }
        assert!(began.elapsed() < TIMEOUT, "waited {} s in vain: {what}", TIMEOUT.as_secs());
        thread::sleep(Duration::from_millis(2));
    }
}

struct Bed {
    dir: tempfile::TempDir,
    _server: Server,
}

/// About 800 KiB as text.
fn many_services() -> BriefList {
    let service = |fwmark| ServiceView {
        key: ServiceKey::Fwmark { fwmark, family: Family::Ipv6 },
        scheduler: Scheduler::Wlc,
        flags: SchedulerFlags::default(),
        persistence: None,
        ops: false,
        destinations: Vec::new(),
        stats: Stats::default(),
        live: Stats::default(),
        rates: Rates::default(),
    };
    BriefList(ServiceList { services: (1..=10_000).map(service).collect(), connection_capacity: 0 })
}

/// Replies to `config.get`, knows no service, and replies "done" to everything else.
fn daemon(jobs: &channel::Receiver<Job>) {
    for job in jobs {
        let response = match job.request {
            _ if job.namespace.as_deref() == Some("red") => {
                Err(Failure::from(EditError::NoSuchNamespace("red".to_owned())))
            }
            Request::ConfigGet(_) => Ok(Reply::Config(Box::default())),
            Request::ServiceRemove(ServiceRemove { service }) => {
                Err(Failure::from(EditError::NoSuchService(service)))
            }
            Request::DebugFollow(_) => {
                let mut followers = Followers::default();
                let events = followers.add();
                let event = |n: usize| DebugEvent { text: format!("event {n}"), ..DebugEvent::default() };
                // Twice what is queued for a slow reader, one more when it has read those, then the daemon ends.
                (0..2 * QUEUE_LEN).for_each(|n| followers.send(|| event(n)));
                let late = events.clone();
                thread::spawn(move || {
                    until("the follower has read everything", || late.0.is_empty().then_some(()));
                    followers.send(|| event(2 * QUEUE_LEN));
                });
                Ok(Reply::Following(events))
            }
            Request::ServiceList(_) => Ok(Reply::BriefServices(many_services())),
            Request::DaemonStop(_) => return,
            _ => Ok(Reply::Done(Done {})),
        };
        let _ = job.reply.send(response);
    }
}

impl Bed {
    fn new() -> Bed {
        Bed::with(Limits::default())
    }

    fn with(limits: Limits) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let (jobs, queue) = channel::unbounded();
        thread::spawn(move || daemon(&queue));
        let _server = Server::with_limits(&dir.path().join("s"), jobs, limits).unwrap();
        Bed { dir, _server }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn client(&self) -> Client {
        Client::connect(&self.path()).unwrap()
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    fn ask(&self, line: &str) -> Value {
        let mut stream = self.raw();
        writeln!(stream, "{line}").unwrap();
        response(&stream)
    }
}

fn response(stream: &UnixStream) -> Value {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn get(client: &mut Client) -> Config {
    client.call(&Request::ConfigGet(NoParams {})).unwrap()
}

#[test]
fn a_request_gets_its_reply_and_an_error_its_errno() {
    let bed = Bed::new();
    let mut client = bed.client();
    assert_eq!(get(&mut client), Config::default());
    let service = ServiceKey::Address { protocol: Protocol::Udp, address: [10, 9, 9, 1].into(), l4_port: 53 };
    let refused = client.call::<Done>(&Request::ServiceRemove(ServiceRemove { service })).unwrap_err();
    let ClientError::Refused(error) = refused else { panic!("{refused}") };
    assert_eq!((error.code, error.data.errno), (-32001, Some(Errno::ESrch)));
    assert!(error.message.contains("udp 10.9.9.1:53"), "{}", error.message);
}

#[test]
fn invalid_requests_get_their_error_codes() {
    let bed = Bed::new();
    for (line, code, word) in [
        ("{", -32700, "not JSON"),
        ("[]", -32600, "batches are not supported"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"config.get","namespace":7}"#,
            -32600,
            "namespace must be a string",
        ),
        ("7", -32600, "object"),
        (r#"{"id":1,"method":"config.get"}"#, -32600, "jsonrpc"),
        (r#"{"jsonrpc":"2.0","id":{},"method":"config.get"}"#, -32600, "id must"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"config.get","x":1}"#, -32600, "unknown field"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"config.set"}"#, -32601, "config.apply"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"config.get","params":[]}"#, -32602, "named parameters"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"config.get","params":{"x":1}}"#,
            -32602,
            "params.x: unknown field x; this takes no parameters",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"settings.set","params":{"tcp_timeout":5,"tcp_timeout":6}}"#,
            -32602,
            "duplicate field `tcp_timeout`",
        ),
    ] {
        let error = &bed.ask(line)["error"];
        assert_eq!(error["code"], json!(code), "{line}: {error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{line}: {error}");
    }
}

#[test]
fn a_wrong_parameter_is_named_in_the_error() {
    let bed = Bed::new();
    let line = r#"{"jsonrpc":"2.0","id":"a","method":"config.apply","params":{"config":{"services":[{"protocol":"tcp","address":"10.9.9.1","l4_port":80,"weight":1}]}}}"#;
    let response = bed.ask(line);
    assert_eq!(response["id"], json!("a"));
    let error = &response["error"]["data"]["errors"][0];
    assert_eq!(error["location"], json!("params.config.services[0].weight"), "{response}");
}

#[test]
fn a_client_can_select_a_namespace() {
    let bed = Bed::new();
    let asked = |name: Option<&str>| {
        let mut client = bed.client().in_namespace(name.map(str::to_owned));
        client.call::<Config>(&Request::ConfigGet(NoParams {}))
    };
    assert!(asked(None).is_ok() && asked(Some("blue")).is_ok());
    let Err(ClientError::Refused(error)) = asked(Some("red")) else { panic!("there is no red") };
    assert_eq!(error.data.errno, Some(Errno::ENoEnt));
}

#[test]
fn a_notification_is_not_answered() {
    let bed = Bed::new();
    let lines = "{\"jsonrpc\":\"2.0\",\"method\":\"service.flush\"}\n\n{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"config.get\"}";
    assert_eq!(bed.ask(lines)["id"], json!(9));
}

#[test]
fn slow_and_disconnected_clients_do_not_delay_others() {
    let bed = Bed::new();
    let mut half = bed.raw();
    half.write_all(b"{\"jsonrpc\":").unwrap();
    let mut gone = bed.raw();
    gone.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"config.get\"}\n").unwrap();
    drop(gone);
    get(&mut bed.client());
    half.write_all(b"\"2.0\",\"id\":5,\"method\":\"config.get\"}\n").unwrap();
    assert_eq!(response(&half)["id"], json!(5));
}

#[test]
fn a_slow_follower_delays_no_one_and_learns_how_many_events_it_missed() {
    let bed = Bed::new();
    let mut follower = bed.client();
    follower.call::<Done>(&Request::DebugFollow(NoParams {})).unwrap();
    get(&mut bed.client());
    let mut received = Vec::new();
    while let Some(next) = follower.next_notification::<DebugEvent>().unwrap() {
        received.push((next.text, next.missed));
    }
    assert_eq!(received.len(), QUEUE_LEN + 1);
    assert_eq!(received[0], ("event 0".to_owned(), 0));
    assert_eq!(received[QUEUE_LEN], (format!("event {}", 2 * QUEUE_LEN), QUEUE_LEN as u64));
}

#[test]
fn a_follower_that_disconnects_frees_its_slot() {
    let bed = Bed::new();
    let mut stream = bed.raw();
    stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"debug.follow\"}\n").unwrap();
    assert_eq!(response(&stream)["result"], json!({}));
    stream.write_all(b"\n").unwrap();
    // Data it has not read is discarded with the connection, which may appear as a reset.
    let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
}

#[test]
fn an_endless_line_is_rejected() {
    let bed = Bed::new();
    let mut endless = bed.raw();
    let chunk = vec![b' '; 1 << 20];
    // The server may close before everything is written.
    while endless.write_all(&chunk).is_ok() {}
    assert_eq!(response(&endless)["error"]["data"]["limit"], json!("line"));
}

#[test]
fn the_129th_client_is_refused_with_a_reason() {
    let bed = Bed::new();
    let mut clients: Vec<Client> = (0..Limits::default().clients).map(|_| bed.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(get(client), Config::default()));
    assert_eq!(response(&bed.raw())["error"]["code"], json!(-32004));
    drop(clients);
}

#[test]
fn a_stopping_daemon_reports_it() {
    let bed = Bed::new();
    let error = bed.client().call::<Done>(&Request::DaemonStop(NoParams {})).unwrap_err();
    assert!(error.to_string().contains("stopping"), "{error}");
}

#[test]
fn only_the_owner_can_connect_and_only_one_daemon_can_listen() {
    let bed = Bed::new();
    assert_eq!(bed.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (jobs, _queue) = channel::unbounded();
    assert!(matches!(Server::start(&bed.path(), jobs), Err(ServerError::InUse(_))));
    get(&mut bed.client());
}

#[test]
fn a_stale_socket_is_replaced_but_a_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (jobs, _queue) = channel::unbounded();
    let path = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Server::start(&path, jobs.clone()).unwrap();
    drop(server);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::start(&path, jobs), Err(ServerError::NotASocket(_))));
}

#[test]
fn a_missing_daemon_is_reported_with_a_hint() {
    let error = Client::connect("/nonexistent/s".as_ref()).unwrap_err().to_string();
    assert!(error.starts_with("cannot reach polluxd at /nonexistent/s: "), "{error}");
    assert!(error.contains("start it with `polluxd -- --config FILE`"), "{error}");
}

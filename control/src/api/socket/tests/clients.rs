//! Clients that are slow, greedy, or gone: none of them holds up another, and each limit is told by its name.

use std::io::Read;

use super::*;

const LIST: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.list\"}\n";

fn limit(answer: &Value) -> (i64, String) {
    let error = &answer["error"];
    let name = error["data"]["limit"].as_str().unwrap_or_default().to_owned();
    (error["code"].as_i64().unwrap_or_default(), name)
}

fn told(name: &str) -> (i64, String) {
    (-32004, name.to_owned())
}

/// Reads until the other end is closed; true when it is.
fn is_closed(mut stream: &UnixStream) -> bool {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).is_ok_and(|_| true)
}

#[test]
fn half_a_line_may_wait_only_so_long() {
    let bed = Bed::with(Limits { half_line: Duration::from_millis(50), ..Limits::default() });
    let silent = bed.raw();
    let mut half = bed.raw();
    half.write_all(b"{\"jsonrpc\":").unwrap();
    assert_eq!(limit(&answer(&half)), told("half_line"));
    assert!(is_closed(&half));
    let mut drip = bed.raw();
    // A byte now and then is no way to keep a line open.
    while drip.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(limit(&answer(&drip)), told("half_line"));
    (&silent).write_all(LIST).unwrap();
    assert_eq!(answer(&silent)["id"], json!(1), "silence between lines is no error");
}

#[test]
fn requests_share_their_bytes() {
    let bed = Bed::with(Limits { requests: 100_000, ..Limits::default() });
    let mut first = bed.raw();
    first.write_all(&vec![b' '; 60_000]).unwrap();
    let refused = loop {
        // Until the first client's bytes are read there is room for others.
        let mut second = bed.raw();
        let _ = second.write_all(&vec![b' '; 50_000]).and_then(|()| second.write_all(LIST));
        let read = answer(&second);
        if read["error"].is_object() {
            break read;
        }
    };
    assert_eq!(limit(&refused), told("requests"));
    first.write_all(LIST).unwrap();
    assert_eq!(answer(&first)["id"], json!(1), "who was first goes on");
    let mut third = bed.raw();
    third.write_all(&vec![b' '; 90_000]).unwrap();
    third.write_all(LIST).unwrap();
    assert_eq!(answer(&third)["id"], json!(1), "bytes are given back");
}

/// Waits until an answer is on its way, and leaves the rest of it unread.
fn first_byte(mut stream: &UnixStream) {
    stream.read_exact(&mut [0]).unwrap();
}

#[test]
fn answers_that_nobody_reads_are_held_only_up_to_a_sum() {
    let bed = Bed::with(Limits { answers: 2 << 20, unread: PATIENCE, ..Limits::default() });
    let slow: Vec<UnixStream> = (0..8).map(|_| bed.raw()).collect();
    slow.iter().for_each(|mut stream| stream.write_all(LIST).unwrap());
    slow.iter().for_each(first_byte);
    assert_eq!(get(&mut bed.client()), Config::default());
    let mut refused = 0;
    for stream in &slow {
        let mut text = String::from("{");
        BufReader::new(stream).read_line(&mut text).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        refused += usize::from(limit(&read) == told("answers"));
        assert!(read["result"].is_object() || read["error"].is_object(), "whole, or refused");
    }
    assert!(refused > 0, "eight answers of 800 KiB do not fit into 2 MiB");
}

#[test]
fn an_answer_left_unread_ends_the_connection_and_gives_its_bytes_back() {
    let limits = Limits { answers: 1 << 20, unread: Duration::from_millis(300), ..Limits::default() };
    let bed = Bed::with(limits);
    let slow = bed.raw();
    (&slow).write_all(LIST).unwrap();
    first_byte(&slow);
    // There is no room for a second answer until the first is given up.
    loop {
        let read = bed.ask(std::str::from_utf8(LIST).unwrap().trim());
        if read["result"].is_object() {
            break;
        }
        assert_eq!(limit(&read), told("answers"));
        thread::sleep(Duration::from_millis(20));
    }
    assert!(is_closed(&slow), "what was sent until then can still be read, and then it ends");
}

#[test]
fn a_client_that_vanishes_takes_nothing_along() {
    let bed = Bed::with(Limits { requests: 1 << 20, answers: 1 << 20, ..Limits::default() });
    for round in 0..60 {
        let mut stream = bed.raw();
        let part = round % LIST.len();
        stream.write_all(&LIST[..part]).unwrap();
        stream.write_all(&vec![b' '; 50_000]).unwrap();
        let mut asked = bed.raw();
        asked.write_all(LIST).unwrap();
        if round % 2 == 0 {
            let _ = asked.read(&mut [0; 100]).unwrap();
        }
    }
    // The last ones may not be noticed yet.
    let whole = || bed.ask(std::str::from_utf8(LIST).unwrap().trim())["result"].is_object();
    assert!((0..200).any(|_| {
        thread::sleep(Duration::from_millis(10));
        whole()
    }));
}

/// A hundred clients of all kinds are connected, and stay so; one that behaves gets every answer, in order.
#[test]
fn a_hundred_clients_of_all_kinds_do_not_hold_up_one_that_behaves() {
    let bed = Bed::new();
    let mut held = Vec::new();
    for number in 0..100 {
        let mut stream = bed.raw();
        match number % 5 {
            0 => stream.write_all(&LIST[..20]).unwrap(),
            // Asks for much and reads nothing.
            1 => stream.write_all(&LIST.repeat(2)).unwrap(),
            // Sends much that is nothing.
            2 => {
                let mut much = stream.try_clone().unwrap();
                much.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
                thread::spawn(move || {
                    let _ = much.write_all(&vec![b'['; 400_000]);
                });
            }
            3 => {}
            _ => {
                stream.write_all(LIST).unwrap();
                stream.shutdown(std::net::Shutdown::Both).unwrap();
            }
        }
        held.push(stream);
    }
    let mut good = bed.raw();
    for id in 0..200 {
        writeln!(good, "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"config.get\"}}").unwrap();
        assert_eq!(answer(&good)["id"], json!(id));
    }
    // They were there all the time: those that sent half a line finish it now.
    for mut stream in held.into_iter().step_by(5) {
        stream.write_all(&LIST[20..]).unwrap();
        assert_eq!(answer(&stream)["id"], json!(1));
    }
}

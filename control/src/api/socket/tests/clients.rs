//! Clients that are slow, greedy, or gone: none of them delays another, and each error names the limit reached.

use std::io::Read;

use super::*;

const LIST: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"service.list\"}\n";

fn limit(response: &Value) -> (i64, String) {
    let error = &response["error"];
    let name = error["data"]["limit"].as_str().unwrap_or_default().to_owned();
    (error["code"].as_i64().unwrap_or_default(), name)
}

fn reached(name: &str) -> (i64, String) {
    (-32004, name.to_owned())
}

/// Reads until the other end is closed; true when it is.
fn is_closed(mut stream: &UnixStream) -> bool {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).is_ok_and(|_| true)
}

#[test]
fn an_incomplete_line_times_out() {
    let bed = Bed::with(Limits { request_timeout: Duration::from_millis(50), ..Limits::default() });
    let silent = bed.raw();
    let mut half = bed.raw();
    half.write_all(b"{\"jsonrpc\":").unwrap();
    assert_eq!(limit(&response(&half)), reached("request_timeout"));
    assert!(is_closed(&half));
    let mut drip = bed.raw();
    // One byte at a time does not keep a line open.
    until("the dripping connection is closed", || drip.write_all(b" ").is_err().then_some(()));
    assert_eq!(limit(&response(&drip)), reached("request_timeout"));
    (&silent).write_all(LIST).unwrap();
    assert_eq!(response(&silent)["id"], json!(1), "silence between lines is not an error");
}

#[test]
fn requests_share_a_byte_limit() {
    let bed = Bed::with(Limits { requests: 100_000, ..Limits::default() });
    let mut first = bed.raw();
    first.write_all(&vec![b' '; 60_000]).unwrap();
    // There is room for others until the first client's bytes have been read.
    let refused = until("a request is refused", || {
        let mut second = bed.raw();
        let _ = second.write_all(&vec![b' '; 50_000]).and_then(|()| second.write_all(LIST));
        Some(response(&second)).filter(|read| read["error"].is_object())
    });
    assert_eq!(limit(&refused), reached("requests"));
    first.write_all(LIST).unwrap();
    assert_eq!(response(&first)["id"], json!(1), "the first client goes on");
    let mut third = bed.raw();
    third.write_all(&vec![b' '; 90_000]).unwrap();
    third.write_all(LIST).unwrap();
    assert_eq!(response(&third)["id"], json!(1), "bytes are released");
}

/// Reads the first byte of a response and leaves the rest unread.
fn first_byte(mut stream: &UnixStream) {
    stream.read_exact(&mut [0]).unwrap();
}

#[test]
fn unread_replies_share_a_byte_limit() {
    let bed = Bed::with(Limits { replies: 2 << 20, unread: TIMEOUT, ..Limits::default() });
    let slow: Vec<UnixStream> = (0..8).map(|_| bed.raw()).collect();
    slow.iter().for_each(|mut stream| stream.write_all(LIST).unwrap());
    slow.iter().for_each(first_byte);
    assert_eq!(get(&mut bed.client()), Config::default());
    let mut refused = 0;
    for stream in &slow {
        let mut text = String::from("{");
        BufReader::new(stream).read_line(&mut text).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        refused += usize::from(limit(&read) == reached("replies"));
        assert!(
            read["result"].is_object() || read["error"].is_object(),
            "either the whole response or an error"
        );
    }
    assert!(refused > 0, "eight replies of 800 KiB do not fit into 2 MiB");
}

#[test]
fn an_unread_response_ends_the_connection_and_releases_its_bytes() {
    let limits = Limits { replies: 1 << 20, unread: Duration::from_millis(300), ..Limits::default() };
    let bed = Bed::with(limits);
    let slow = bed.raw();
    (&slow).write_all(LIST).unwrap();
    first_byte(&slow);
    // There is no room for a second response until the first is discarded.
    until("a second response fits", || {
        let read = bed.ask(std::str::from_utf8(LIST).unwrap().trim());
        let fits = read["result"].is_object();
        assert!(fits || limit(&read) == reached("replies"), "{read}");
        fits.then_some(())
    });
    assert!(is_closed(&slow), "what was sent before can still be read; then the connection ends");
}

#[test]
fn a_client_that_disconnects_leaves_nothing_behind() {
    let bed = Bed::with(Limits { requests: 1 << 20, replies: 1 << 20, ..Limits::default() });
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
    // The server may not have noticed the last disconnections yet.
    until("there is room for a response again", || {
        bed.ask(std::str::from_utf8(LIST).unwrap().trim())["result"].is_object().then_some(())
    });
}

/// A hundred misbehaving clients stay connected; a well-behaved one gets every response, in order.
#[test]
fn a_hundred_misbehaving_clients_do_not_delay_a_good_one() {
    let bed = Bed::new();
    let mut held = Vec::new();
    for number in 0..100 {
        let mut stream = bed.raw();
        match number % 5 {
            0 => stream.write_all(&LIST[..20]).unwrap(),
            // Requests a large response twice and reads nothing.
            1 => stream.write_all(&LIST.repeat(2)).unwrap(),
            // Sends a long line that is not a request.
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
        assert_eq!(response(&good)["id"], json!(id));
    }
    // They were connected all the time: those that sent half a line now finish it.
    for mut stream in held.into_iter().step_by(5) {
        stream.write_all(&LIST[20..]).unwrap();
        assert_eq!(response(&stream)["id"], json!(1));
    }
}

//! JSON-RPC 2.0 as bytes: what a line asks for, and how an answer is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{ErrorData, Failure};
use crate::fault::Fault;
use crate::parse;
use crate::request::{METHODS, Reply, Request};

/// A line that was understood.
#[derive(Debug, PartialEq)]
pub struct Call {
    /// What to answer with; none for a notification, which is carried out and not answered.
    pub id: Option<Value>,
    /// What is asked for.
    pub request: Request,
}

/// An error object with the id it answers.
#[derive(Debug, PartialEq)]
pub struct Refused {
    /// The request's id; null when it could not be read.
    pub id: Value,
    /// The error.
    pub error: RpcError,
}

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// The kind, for programs.
    pub code: i32,
    /// The text, for people.
    pub message: String,
    /// The parts of the error.
    #[serde(default)]
    pub data: ErrorData,
}

impl RpcError {
    /// An error that is all said in its text.
    pub fn new(code: i32, message: impl Into<String>) -> RpcError {
        RpcError { code, message: message.into(), data: ErrorData::default() }
    }
}

impl From<&Failure> for RpcError {
    fn from(failure: &Failure) -> RpcError {
        RpcError { code: failure.code(), message: failure.to_string(), data: failure.data() }
    }
}

/// Reads one line. Parameters are read where they stand: a configuration of many megabytes is not copied into a tree
/// first.
///
/// # Errors
/// The error object to answer with.
pub fn read(line: &[u8]) -> Result<Call, Refused> {
    let refuse =
        |id: &Value, code, message: String| Refused { id: id.clone(), error: RpcError::new(code, message) };
    let mut message = envelope(line).map_err(|(code, why)| refuse(&Value::Null, code, why))?;
    let id = match message.remove("id").map(|id| serde_json::from_str::<Value>(id.get())) {
        None => None,
        Some(Ok(id @ (Value::Null | Value::Number(_) | Value::String(_)))) => Some(id),
        Some(_) => {
            let why = "id must be a string, a number or null";
            return Err(refuse(&Value::Null, -32600, why.to_owned()));
        }
    };
    let answer_to = id.clone().unwrap_or(Value::Null);
    let invalid = |why: &str| refuse(&answer_to, -32600, why.to_owned());
    let text = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    if text(message.remove("jsonrpc")).as_deref() != Some("2.0") {
        return Err(invalid("jsonrpc must be \"2.0\""));
    }
    let Some(method) = text(message.remove("method")) else {
        return Err(invalid("method must be a string"));
    };
    let params = message.remove("params").map_or("{}", RawValue::get);
    if let Some(unknown) = message.keys().next() {
        return Err(invalid(&format!("unknown field {unknown:?}; use jsonrpc, id, method and params")));
    }
    request(&method, params)
        .map(|request| Call { id, request })
        .map_err(|error| Refused { id: answer_to, error })
}

/// The fields of a message, each as it is written; of two with one name the later counts. Else the code and the reason.
fn envelope(line: &[u8]) -> Result<BTreeMap<String, &RawValue>, (i32, String)> {
    let line = std::str::from_utf8(line).map_err(|error| (-32700, format!("not JSON: {error}")))?;
    let whole: &RawValue =
        serde_json::from_str(line).map_err(|error| (-32700, format!("not JSON: {error}")))?;
    let why = match whole.get().as_bytes().first() {
        Some(b'{') => {
            return serde_json::from_str(whole.get()).map_err(|error| (-32700, format!("not JSON: {error}")));
        }
        Some(b'[') => "batches are not supported; send one request a line",
        _ => "a request is a JSON object",
    };
    Err((-32600, why.to_owned()))
}

fn request(method: &str, params: &str) -> Result<Request, RpcError> {
    if !METHODS.contains(&method) {
        let known = METHODS.join(", ");
        return Err(RpcError::new(-32601, format!("unknown method {method:?}; there are {known}")));
    }
    if !params.starts_with('{') {
        return Err(RpcError::new(-32602, "params must be an object; parameters go by name"));
    }
    // The method goes first, so that the parameters are read in place and an error knows the path it is at.
    let whole = format!("{{\"method\":\"{method}\",\"params\":{params}}}");
    parse::json(&whole).map_err(|wrong| {
        let fault = Fault {
            place: wrong.place,
            problem: wrong.problem,
            cure: format!("see `pollux schema` for {method}"),
        };
        RpcError {
            code: -32602,
            message: fault.to_string(),
            data: ErrorData { faults: vec![fault], ..ErrorData::default() },
        }
    })
}

/// An answer: to whom, and what.
#[derive(Serialize)]
struct Answer<'a, T> {
    id: &'a Value,
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RpcError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<T>,
}

/// Writes an answer as one line.
pub fn answer(id: &Value, result: &Result<Reply, Failure>) -> Vec<u8> {
    match result {
        Ok(reply) => line(&Answer { id, jsonrpc: "2.0", error: None, result: Some(reply) }),
        Err(failure) => error(id, &RpcError::from(failure)),
    }
}

/// Writes an error object as one line.
pub fn error(id: &Value, error: &RpcError) -> Vec<u8> {
    line(&Answer::<()> { id, jsonrpc: "2.0", error: Some(error), result: None })
}

/// A request: the method and its parameters stand beside the rest.
#[derive(Serialize)]
struct Message<'a> {
    jsonrpc: &'static str,
    id: u64,
    #[serde(flatten)]
    request: &'a Request,
}

/// Writes a request as one line.
pub fn call(id: u64, request: &Request) -> Vec<u8> {
    line(&Message { jsonrpc: "2.0", id, request })
}

/// JSON text has no line ends of its own: inside strings they are escaped.
fn line(message: &impl Serialize) -> Vec<u8> {
    // Every key of our types is text and no number of them is odd, which is all that could fail.
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

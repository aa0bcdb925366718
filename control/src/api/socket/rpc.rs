//! JSON-RPC 2.0 as bytes: what a line asks for, and how an answer is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::error::{ErrorData, Failure};
use crate::api::follow::Followed;
use crate::api::request::{METHODS, Reply, Request};
use crate::api::view::DebugEvent;
use crate::model::input_error::InputError;

/// A line that was understood.
#[derive(Debug, PartialEq)]
pub struct Call {
    /// What to answer with; none for a notification, which is carried out and not answered.
    pub id: Option<Value>,
    /// About which namespace; the default one, or all, when absent.
    pub namespace: Option<String>,
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

/// Reads one line.
///
/// # Errors
/// The error object to answer with.
pub fn read(line: &[u8]) -> Result<Call, Refused> {
    let mut message = fields(line)?;
    let id = message.remove("id").map(value);
    let answer_to = id.clone().unwrap_or(Value::Null);
    let invalid = |why: &str| refuse(&answer_to, -32600, why.to_owned());
    if matches!(id, Some(Value::Bool(_) | Value::Array(_) | Value::Object(_))) {
        return Err(invalid("id must be a string, a number or null"));
    }
    if message.remove("jsonrpc").map(value) != Some(json!("2.0")) {
        return Err(invalid("jsonrpc must be \"2.0\""));
    }
    let Some(Value::String(method)) = message.remove("method").map(value) else {
        return Err(invalid("method must be a string"));
    };
    let params = message.remove("params");
    let namespace = match message.remove("namespace").map(value) {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(invalid("namespace must be a string")),
    };
    if let Some(unknown) = message.keys().next() {
        return Err(invalid(&format!(
            "unknown field {unknown:?}; use jsonrpc, id, method, namespace and params"
        )));
    }
    request(&method, params.map_or("{}", RawValue::get))
        .map(|request| Call { id, namespace, request })
        .map_err(|error| Refused { id: answer_to, error })
}

fn refuse(id: &Value, code: i32, message: String) -> Refused {
    Refused { id: id.clone(), error: RpcError::new(code, message) }
}

/// The fields of a message. What they hold is not looked at yet: it may be long, and is best read at once for what it
/// is.
fn fields(line: &[u8]) -> Result<BTreeMap<String, &RawValue>, Refused> {
    serde_json::from_slice(line).map_err(|_| match serde_json::from_slice::<Value>(line) {
        Err(e) => refuse(&Value::Null, -32700, format!("not JSON: {e}")),
        Ok(Value::Array(_)) => {
            refuse(&Value::Null, -32600, "batches are not supported; send one request a line".to_owned())
        }
        Ok(_) => refuse(&Value::Null, -32600, "a request is a JSON object".to_owned()),
    })
}

/// What was read as JSON already is JSON.
fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn request(method: &str, params: &str) -> Result<Request, RpcError> {
    if !METHODS.contains(&method) {
        let known = METHODS.join(", ");
        return Err(RpcError::new(-32601, format!("unknown method {method:?}; there are {known}")));
    }
    if !params.trim_start().starts_with('{') {
        return Err(RpcError::new(-32602, "params must be an object; parameters go by name"));
    }
    // The method goes first, so that the parameters are read in place.
    let whole = format!("{{\"method\":{},\"params\":{params}}}", json!(method));
    serde_json::from_str(&whole).or_else(|_| explain(method, &whole))
}

/// Reads a request that is wrong once more, to tell where; an error knows the path it is at.
fn explain(method: &str, whole: &str) -> Result<Request, RpcError> {
    let whole: Value = serde_json::from_str(whole).unwrap_or_default();
    serde_path_to_error::deserialize(whole).map_err(|error| {
        let error = InputError {
            location: error.path().to_string(),
            error: error.inner().to_string(),
            hint: format!("see `pollux schema` for {method}"),
        };
        RpcError {
            code: -32602,
            message: error.to_string(),
            data: ErrorData { errors: vec![error], ..ErrorData::default() },
        }
    })
}

/// Writes an answer as one line.
pub fn answer(id: &Value, result: &Result<Reply, Failure>) -> Vec<u8> {
    match result {
        Ok(reply) => line(&Answer { id, jsonrpc: "2.0", result: reply }),
        Err(failure) => error(id, &RpcError::from(failure)),
    }
}

/// Writes an error object as one line.
pub fn error(id: &Value, error: &RpcError) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

/// An answer that is written as it is, without a tree of it.
#[derive(Serialize)]
struct Answer<'a> {
    id: &'a Value,
    jsonrpc: &'static str,
    result: &'a Reply,
}

/// Writes a request as one line.
pub fn call(id: u64, namespace: Option<&str>, request: &Request) -> Vec<u8> {
    #[derive(Serialize)]
    struct Call<'a> {
        id: u64,
        jsonrpc: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        #[serde(flatten)]
        request: &'a Request,
    }
    line(&Call { id, jsonrpc: "2.0", namespace, request })
}

/// Writes a debug event for a follower as one line.
pub fn notification(followed: &Followed) -> Vec<u8> {
    let event = DebugEvent { missed: followed.missed, ..DebugEvent::clone(&followed.event) };
    line(&json!({ "jsonrpc": "2.0", "method": "debug.event", "params": event }))
}

/// JSON text has no line ends of its own: inside strings they are escaped.
fn line(message: &impl Serialize) -> Vec<u8> {
    // What we send are strings, numbers, lists and maps with strings for keys, and those can always be written.
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

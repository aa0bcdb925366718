//! JSON-RPC 2.0 as bytes: what a line asks for, and how an answer is written.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{ErrorData, Failure};
use crate::fault::Fault;
use crate::request::{METHODS, Reply, Request};

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
    let refuse =
        |id: &Value, code, message: String| Refused { id: id.clone(), error: RpcError::new(code, message) };
    let message: Value =
        serde_json::from_slice(line).map_err(|e| refuse(&Value::Null, -32700, format!("not JSON: {e}")))?;
    let Value::Object(mut message) = message else {
        let why = if message.is_array() {
            "batches are not supported; send one request a line"
        } else {
            "a request is a JSON object"
        };
        return Err(refuse(&Value::Null, -32600, why.to_owned()));
    };
    let id = message.remove("id");
    let answer_to = id.clone().unwrap_or(Value::Null);
    let invalid = |why: &str| refuse(&answer_to, -32600, why.to_owned());
    if matches!(id, Some(Value::Bool(_) | Value::Array(_) | Value::Object(_))) {
        return Err(invalid("id must be a string, a number or null"));
    }
    if message.remove("jsonrpc") != Some(json!("2.0")) {
        return Err(invalid("jsonrpc must be \"2.0\""));
    }
    let Some(Value::String(method)) = message.remove("method") else {
        return Err(invalid("method must be a string"));
    };
    let params = message.remove("params").unwrap_or_else(|| json!({}));
    let namespace = match message.remove("namespace") {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(invalid("namespace must be a string")),
    };
    if let Some(unknown) = message.keys().next() {
        return Err(invalid(&format!(
            "unknown field {unknown:?}; use jsonrpc, id, method, namespace and params"
        )));
    }
    request(&method, params)
        .map(|request| Call { id, namespace, request })
        .map_err(|error| Refused { id: answer_to, error })
}

fn request(method: &str, params: Value) -> Result<Request, RpcError> {
    if !METHODS.contains(&method) {
        let known = METHODS.join(", ");
        return Err(RpcError::new(-32601, format!("unknown method {method:?}; there are {known}")));
    }
    if !params.is_object() {
        return Err(RpcError::new(-32602, "params must be an object; parameters go by name"));
    }
    // The method goes first, so that the parameters are read in place and an error knows the path it is at.
    let whole = json!({ "method": method, "params": params });
    serde_path_to_error::deserialize(whole).map_err(|error| {
        let fault = Fault {
            place: error.path().to_string(),
            problem: error.inner().to_string(),
            cure: format!("see `pollux schema` for {method}"),
        };
        RpcError {
            code: -32602,
            message: fault.to_string(),
            data: ErrorData { errno: None, faults: vec![fault] },
        }
    })
}

/// Writes an answer as one line.
pub fn answer(id: &Value, result: &Result<Reply, Failure>) -> Vec<u8> {
    match result {
        Ok(reply) => line(&json!({ "jsonrpc": "2.0", "id": id, "result": reply })),
        Err(failure) => error(id, &RpcError::from(failure)),
    }
}

/// Writes an error object as one line.
pub fn error(id: &Value, error: &RpcError) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

/// Writes a request as one line.
pub fn call(id: u64, namespace: Option<&str>, request: &Request) -> Vec<u8> {
    let mut message = json!(request);
    if let Some(namespace) = namespace {
        message["namespace"] = json!(namespace);
    }
    message["jsonrpc"] = json!("2.0");
    message["id"] = json!(id);
    line(&message)
}

/// JSON text has no line ends of its own: inside strings they are escaped.
fn line(message: &Value) -> Vec<u8> {
    let mut bytes = message.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

//! Encoding and decoding of JSON-RPC 2.0 messages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::error::{ErrorData, Failure};
use crate::api::follow::FollowedEvent;
use crate::api::request::{METHODS, Reply, Request};
use crate::api::view::DebugEvent;
use crate::model::input_error::InputError;
use crate::model::parse;

/// A decoded request.
#[derive(Debug, PartialEq)]
pub struct Call {
    /// Id of the request; absent for a notification, which is executed but not answered.
    pub id: Option<Value>,
    /// Namespace; if absent, the default namespace or the whole daemon.
    pub namespace: Option<String>,
    /// The request.
    pub request: Request,
}

/// An error response.
#[derive(Debug, PartialEq)]
pub struct ErrorResponse {
    /// Id of the request; null if it could not be read.
    pub id: Value,
    /// The error.
    pub error: RpcError,
}

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// Error code.
    pub code: i32,
    /// Error message, for people.
    pub message: String,
    /// Error data, for programs.
    #[serde(default)]
    pub data: ErrorData,
}

impl RpcError {
    /// Returns an error without data.
    pub fn new(code: i32, message: impl Into<String>) -> RpcError {
        RpcError { code, message: message.into(), data: ErrorData::default() }
    }
}

impl From<&Failure> for RpcError {
    fn from(failure: &Failure) -> RpcError {
        RpcError { code: failure.code(), message: failure.to_string(), data: failure.data() }
    }
}

/// Decodes one line.
///
/// # Errors
/// The error response.
pub fn parse(line: &[u8]) -> Result<Call, ErrorResponse> {
    let mut message = fields(line)?;
    let id = message.remove("id").map(value);
    let response_id = id.clone().unwrap_or(Value::Null);
    let invalid = |why: &str| refuse(&response_id, -32600, why.to_owned());
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
        .map_err(|error| ErrorResponse { id: response_id, error })
}

fn refuse(id: &Value, code: i32, message: String) -> ErrorResponse {
    ErrorResponse { id: id.clone(), error: RpcError::new(code, message) }
}

/// Reads the fields of a message. Their values may be long and are parsed later, directly into their types.
fn fields(line: &[u8]) -> Result<BTreeMap<String, &RawValue>, ErrorResponse> {
    serde_json::from_slice(line).map_err(|_| match serde_json::from_slice::<Value>(line) {
        Err(e) => {
            refuse(&Value::Null, -32700, format!("the line is not JSON: {e}; send one JSON object per line"))
        }
        Ok(Value::Array(_)) => {
            refuse(&Value::Null, -32600, "batches are not supported; send one request per line".to_owned())
        }
        Ok(_) => refuse(&Value::Null, -32600, "the line is not a request; send a JSON object".to_owned()),
    })
}

/// Parses a value that is known to be valid JSON.
fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn request(method: &str, params: &str) -> Result<Request, RpcError> {
    if !METHODS.contains(&method) {
        let known = METHODS.join(", ");
        return Err(RpcError::new(-32601, format!("unknown method {method:?}; use one of {known}")));
    }
    if !params.trim_start().starts_with('{') {
        return Err(RpcError::new(-32602, "params must be an object with named parameters"));
    }
    // The method is first, so that serde need not buffer the parameters.
    let whole = format!("{{\"method\":{},\"params\":{params}}}", json!(method));
    parse::json(&whole).map_err(|wrong| {
        let hint = format!("see `pollux schema` for {method}");
        let error = InputError { location: wrong.location, error: wrong.error, hint };
        let data = ErrorData { errors: vec![error.clone()], ..ErrorData::default() };
        RpcError { code: -32602, message: error.to_string(), data }
    })
}

/// Encodes a response as one line.
pub fn response(id: &Value, result: &Result<Reply, Failure>) -> Vec<u8> {
    match result {
        Ok(reply) => line(&Response { id, jsonrpc: "2.0", result: reply }),
        Err(failure) => error(id, &RpcError::from(failure)),
    }
}

/// Encodes an error response as one line.
pub fn error(id: &Value, error: &RpcError) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

/// A response, serialized without building a `Value`.
#[derive(Serialize)]
struct Response<'a> {
    id: &'a Value,
    jsonrpc: &'static str,
    result: &'a Reply,
}

/// Encodes a request as one line.
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
pub fn notification(followed: &FollowedEvent) -> Vec<u8> {
    let event = DebugEvent { missed: followed.missed, ..DebugEvent::clone(&followed.event) };
    line(&json!({ "jsonrpc": "2.0", "method": "debug.event", "params": event }))
}

/// Encodes a message. JSON contains no newlines, because they are escaped in strings.
fn line(message: &impl Serialize) -> Vec<u8> {
    // Messages have only string keys, so serialization cannot fail.
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

//! JSON Schema of everything that goes in or out: for editors, for generated clients, and for reading.

use serde_json::{Value, json};

/// A request with what may stand beside it.
fn request() -> Value {
    let mut schema = json!(schemars::schema_for!(crate::api::request::Request));
    let meant = "The namespace that is meant; the default one, or all, when absent.";
    for method in schema["oneOf"].as_array_mut().into_iter().flatten() {
        method["properties"]["namespace"] = json!({ "description": meant, "type": "string" });
    }
    schema
}

/// The schemas of the configuration file, of requests, of replies and of an error's `data`.
pub fn schema() -> Value {
    json!({
        "config": schemars::schema_for!(crate::model::Config),
        "request": request(),
        "reply": schemars::schema_for!(crate::api::request::Reply),
        "error_data": schemars::schema_for!(crate::api::error::ErrorData),
    })
}

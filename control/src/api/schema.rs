//! JSON Schemas of the configuration, of requests, replies and errors, for editors and generated clients.

use serde_json::{Value, json};

/// Returns the schema of requests, with the `namespace` field next to `method`.
fn request() -> Value {
    let mut schema = json!(schemars::schema_for!(crate::api::request::Request));
    let description = "Name of the namespace that the request is about; if absent, the default namespace, or the whole daemon.";
    for method in schema["oneOf"].as_array_mut().into_iter().flatten() {
        method["properties"]["namespace"] = json!({ "description": description, "type": "string" });
    }
    schema
}

/// Returns the schemas of the configuration file, of requests, of replies and of an error's `data`.
pub fn schema() -> Value {
    json!({
        "config": schemars::schema_for!(crate::model::Config),
        "request": request(),
        "reply": schemars::schema_for!(crate::api::request::Reply),
        "error_data": schemars::schema_for!(crate::api::error::ErrorData),
    })
}

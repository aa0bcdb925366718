//! JSON Schema of everything that goes in or out: for editors, for generated clients, and for reading.

use serde_json::{Value, json};

/// The schemas of the configuration file, of requests, of replies and of an error's `data`.
pub fn schema() -> Value {
    json!({
        "config": schemars::schema_for!(crate::model::Config),
        "request": schemars::schema_for!(crate::request::Request),
        "reply": schemars::schema_for!(crate::request::Reply),
        "error_data": schemars::schema_for!(crate::error::ErrorData),
    })
}

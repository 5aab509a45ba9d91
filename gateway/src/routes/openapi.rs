//! The API as data, `/openapi.json`, and as a page to read, `/docs`. The page is made from the data once, needs nothing from
//! anywhere else and runs no scripts.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use retrieval::html_text;
use serde_json::Value;

use crate::app::Gateway;

/// The description, in version 3.1 of its language.
const OPENAPI: &str = include_str!("../../openapi.json");

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#8881;padding:.7rem;overflow:auto}\
h2{margin-top:3rem}h3{margin-top:2rem}h3 code{font-size:1rem}table{border-collapse:collapse;width:100%}\
td{border-top:1px solid #8884;padding:.3rem .8rem .3rem 0;vertical-align:top}\
.m{display:inline-block;min-width:4rem;font-weight:700}:root{color-scheme:light dark}";

/// The routes.
pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/openapi.json", get(openapi)).route("/docs", get(docs))
}

async fn openapi() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, OPENAPI).into_response()
}

async fn docs() -> Response {
    static PAGE: LazyLock<String> =
        LazyLock::new(|| page(&serde_json::from_str(OPENAPI).unwrap_or_default()));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, PAGE.as_str()).into_response()
}

/// The page: a list of contents, then every operation under its tag.
fn page(api: &Value) -> String {
    let title = text(&api["info"]["title"]);
    let mut page = format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style>\
         <h1>{title}</h1><p>{}</p><p><a href=\"/openapi.json\">openapi.json</a></p><ul>",
        prose(&api["info"]["description"]),
    );
    let tags: Vec<&str> = list(&api["tags"]).iter().filter_map(|tag| tag["name"].as_str()).collect();
    for tag in &tags {
        let _ = write!(page, "<li><a href=\"#{0}\">{0}</a></li>", html_text(tag));
    }
    page.push_str("</ul>");
    for tag in tags {
        let _ = write!(page, "<h2 id=\"{0}\">{0}</h2>", html_text(tag));
        for (path, methods) in api["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if list(&operation["tags"]).first().is_some_and(|of| of == tag) {
                    write_operation(&mut page, path, method, operation);
                }
            }
        }
    }
    page.push_str("</html>\n");
    page
}

fn write_operation(page: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        page,
        "<h3><code><span class=\"m\">{}</span> {}</code></h3><p>{}. {}</p>",
        html_text(&method.to_uppercase()),
        html_text(path),
        text(&operation["summary"]),
        prose(&operation["description"]),
    );
    let parameters = list(&operation["parameters"]);
    if !parameters.is_empty() {
        page.push_str("<table>");
    }
    for parameter in parameters {
        let choices = list(&parameter["schema"]["enum"]).iter().map(text).collect::<Vec<_>>().join(", ");
        let _ = write!(
            page,
            "<tr><td><code>{}</code></td><td>{}</td><td>{} {}</td></tr>",
            text(&parameter["name"]),
            text(&parameter["in"]),
            prose(&parameter["description"]),
            if choices.is_empty() { String::new() } else { format!("({choices})") },
        );
    }
    if !parameters.is_empty() {
        page.push_str("</table>");
    }
    for (kind, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        let _ = write!(page, "<p>Body: <code>{}</code> {}</p>", html_text(kind), shape(&body["schema"]));
    }
    page.push_str("<table>");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let said =
            if answer["$ref"].is_string() { "an error".to_string() } else { prose(&answer["description"]) };
        let _ = write!(
            page,
            "<tr><td><code>{}</code></td><td>{said} {}</td></tr>",
            html_text(status),
            shape(&answer["content"]["application/json"]["schema"]),
        );
    }
    page.push_str("</table>");
}

/// A schema in a few words: its name, or the names of its members.
fn shape(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return format!("<code>{}</code>", html_text(name.rsplit('/').next().unwrap_or_default()));
    }
    let members: Vec<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| format!("\"{}\"", html_text(name)))
        .collect();
    if members.is_empty() { String::new() } else { format!("<code>{{{}}}</code>", members.join(", ")) }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    html_text(value.as_str().unwrap_or_default())
}

/// Text in which backticks mark code.
fn prose(value: &Value) -> String {
    let parts = value.as_str().unwrap_or_default().split('`').enumerate();
    let part = |(at, part): (usize, &str)| match at % 2 {
        0 => html_text(part),
        _ => format!("<code>{}</code>", html_text(part)),
    };
    parts.map(part).collect()
}
